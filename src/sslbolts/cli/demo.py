"""``sslbolts demo``: SimCLR on the packaged images, in minutes on a CPU, with everything that a run should show."""

import csv
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sslbolts._lightning import LIGHTNING, Trainer, lightning_module, seed_everything
from sslbolts.callbacks import (
    CollapseMonitor,
    KNNMonitor,
    NanGuard,
    OnlineLinearProbe,
    Preflight,
    RunRecord,
    WhitenedStem,
)
from sslbolts.cli.run.earlier_runs import earlier_run_kept
from sslbolts.cli.shared.checks import check_folder, check_seed
from sslbolts.cli.shared.parser import Parser
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import UsageError
from sslbolts.export import export_backbone
from sslbolts.methods.contrastive.simclr import SimCLR
from sslbolts.networks.raw_pixels import raw_pixels
from sslbolts.transforms import MultiView, recipe
from sslbolts.transforms.allocator import tune_malloc

__all__ = ["main"]

RESNET10 = {
    "layers": [1, 1, 1, 1],
    "channels": [48, 64, 128, 128],
    "stem_type": "deep",
    "stem_width": 24,
    "output_stride": 8,
}
"""A narrow ResNet-10 as arguments of timm's ``resnet18``; its last two stages keep 4 x 4 pixels of 32 x 32."""


def main(argv: Sequence[str]) -> int:
    """Train, evaluate and draw; returns the exit code."""
    parser = Parser(prog="sslbolts demo", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/demo"), help="where results go (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=16, help="passes over the 5,000 images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    arguments = parser.parse(argv)
    if arguments.epochs < 1:
        raise UsageError(f"--epochs {arguments.epochs}: at least one pass over the images is needed.")
    check_folder("--folder", arguments.folder)
    check_seed("--seed", arguments.seed)
    tune_malloc()
    with _quiet():
        run(arguments.folder, arguments.epochs, arguments.seed)
    return 0


def run(folder: Path, epochs: int, seed: int) -> None:
    """Train on the packaged images, print the results, and write checkpoint, backbone and pictures to ``folder``."""
    seed_everything(seed, verbose=False)
    # SimCLR's views for small images, less zoomed in than the paper's.
    view = replace(recipe("simclr", 32).views[0], scale=(0.2, 1.0))
    data = CIFAR10MiniDataModule(batch_size=128, views=MultiView((view, view), normalize=False))
    method = SimCLR(
        "resnet18",
        backbone_kwargs=RESNET10,
        hidden_dim=256,
        temperature=0.2,
        optimizer=lambda params: torch.optim.AdamW(params, lr=3e-3, weight_decay=0.05),
        lr_scaling="none",
        warmup_epochs=1,
    )
    monitor = KNNMonitor(k=20, every_n_epochs=2)
    callbacks = lightning_module("callbacks")
    trainer = Trainer(
        max_epochs=epochs,
        precision="bf16-mixed" if has_fast_bfloat16() else "32-true",
        accelerator="cpu",
        logger=lightning_module("loggers").CSVLogger(folder, name="", version=""),
        callbacks=[
            NanGuard(),
            Preflight(),
            RunRecord(["sslbolts", "demo", f"--folder={folder}", f"--epochs={epochs}", f"--seed={seed}"]),
            WhitenedStem(),
            monitor,
            OnlineLinearProbe(num_classes=data.num_classes),
            CollapseMonitor(),
            callbacks.ModelCheckpoint(folder, filename="simclr", enable_version_counter=False),
        ],
        log_every_n_steps=1,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with earlier_run_kept(trainer):
        trainer.fit(method, data)

    print_results(trainer, monitor)
    weights = export_backbone(method, folder / "backbone.safetensors")
    draw(folder, trainer, method, data)
    print(f"\nCheckpoint and pictures (curves, neighbors, augmentations) are in {folder}/.")
    print("The backbone, in one line of timm:\n")
    print(f'  backbone = timm.create_model("resnet18", num_classes=0, checkpoint_path="{weights}", **{RESNET10})')


def has_fast_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 (AMX or AVX512-BF16); elsewhere it is emulated, and slower than float32."""
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)


def print_results(trainer: Trainer, monitor: KNNMonitor) -> None:
    """The trained features beside raw pixels and the untrained network."""
    from rich.console import Console

    from sslbolts.tables import TextTable

    knn, ridge = monitor.metrics
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    rows = []
    for name, suffix in (("raw pixels", "/raw_pixels"), ("untrained network", "/untrained"), ("SimCLR", "")):
        probe = values["probe/top1"] if not suffix else None
        row = (values[knn + suffix], values[ridge + suffix], probe)
        rows.append([name, *("" if value is None else f"{100 * value:.1f}" for value in row)])
    columns = ["features", "20 nearest neighbors", "ridge", "online linear probe"]
    Console().print(TextTable(columns, rows, title="1,000 test images, accuracy in %", numbers=[1, 2, 3]))


def draw(folder: Path, trainer: Trainer, method: SimCLR, data: CIFAR10MiniDataModule) -> None:
    """Write curves.png, neighbors.png and augmentations.png."""
    from sslbolts.pictures.augmentations import draw_augmentations
    from sslbolts.pictures.curves import draw_curves
    from sslbolts.pictures.neighbors import draw_neighbors, nearest_beside_pixels
    from sslbolts.pictures.style import save

    log = read_log(folder / "metrics.csv")
    knn = "knn/k20_t0.07"
    figure = draw_curves(
        log["train/loss"],
        {"kNN-20": log[knn], "linear probe": log["probe/top1"]},
        {"raw pixels": log[f"{knn}/raw_pixels"][-1][1], "untrained": log[f"{knn}/untrained"][-1][1]},
        title="SimCLR on 5,000 CIFAR-10 images",
    )
    save(figure, folder / "curves.png")

    bank, queries = data.load("bank"), data.load("val")
    chosen = torch.cat([(queries.targets == label).nonzero()[3, :1] for label in range(data.num_classes)])
    found = nearest_beside_pixels(
        "SimCLR",
        features(trainer, method, "val")[chosen],
        features(trainer, method, "bank"),
        6,
        query_pixels=raw_pixels(queries.data[chosen]),
        bank_pixels=raw_pixels(bank.data),
    )
    figure = draw_neighbors(
        queries.data[chosen],
        queries.targets[chosen],
        bank.data,
        bank.targets,
        found,
        class_names=data.class_names,
        title="Test images and their nearest training images",
    )
    save(figure, folder / "neighbors.png")
    save(draw_augmentations(queries.data[chosen[:6]], data.views), folder / "augmentations.png")


def read_log(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The columns of a CSVLogger's file: metric -> pairs (epoch, value), the epoch counted in its fractions."""
    rows = list(csv.DictReader(path.open()))
    steps_per_epoch = max(int(row["step"]) for row in rows) / (1 + max(int(row["epoch"]) for row in rows))
    log: dict[str, list[tuple[float, float]]] = {name: [] for name in rows[0]}
    for row in rows:
        for name, value in row.items():
            if value:
                log[name].append((int(row["step"]) / steps_per_epoch, float(value)))
    return log


def features(trainer: Trainer, method: SimCLR, split: str) -> Tensor:
    """Features of a split of the packaged images, in their order."""
    batches = trainer.predict(method, CIFAR10MiniDataModule(predict_on=split))  # type: ignore[arg-type]
    return torch.cat([batch[0].float() for batch in batches or []])  # type: ignore[index]


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the screen to the progress bar and the results: Lightning's hints are not about this run."""
    logger = logging.getLogger(LIGHTNING)
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIGHTNING.replace(".", r"\."))
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
