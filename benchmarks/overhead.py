"""What the monitors cost per training step.

    python benchmarks/overhead.py [--steps 400] [--device cpu|cuda]

The step is that of configs/simclr_cifar10mini.yaml: SimCLR on a ResNet-10 of width 16, two views of 32 x 32 pixels,
batch 256, bf16-mixed where the machine computes in bf16. The monitors are switched on and off every few batches of one
run, so that whatever else the machine does falls on all variants alike. Two figures each: the median step with it
against the median step without any, and the time spent in its own hooks, per step on average. The second is the sharper
one on a busy CPU, and it has in it what comes only now and then (collapse). Validation, where kNN works, is apart.
"""

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from sslbolts import SSLModule
from sslbolts._lightning import Callback, Trainer
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, OnlineLinearProbe
from sslbolts.cli.demo import has_fast_bfloat16
from sslbolts.methods import get_method

BATCH, BLOCK = 256, 5
COLLAPSE_EVERY = 50  # its default; here it measures once per block, and its time is scaled to that
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "probe": ("probe",),
    "kNN": ("kNN",),
    "collapse": ("collapse",),
    "all three": ("probe", "kNN", "collapse"),
}
STEP_HOOKS = ("on_train_batch_start", "on_before_backward", "on_train_batch_end")


class Clock(Callback):
    """Chooses the variant of each block of batches, and times every step."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = defaultdict(list)
        self.hooks: dict[str, float] = defaultdict(float)
        self.validations: list[float] = []
        self.variant = "none"

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.variant = list(VARIANTS)[batch_idx // BLOCK % len(VARIANTS)]
        self.start = now(pl_module)


class Finish(Callback):
    """Stands last, so that the step ends after all other callbacks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx >= BLOCK * len(VARIANTS):  # the first round warms up
            self.clock.steps[self.clock.variant].append(now(pl_module) - self.clock.start)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.start = now(pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.clock.validations.append(now(pl_module) - self.start)


def switched(name: str, callback: Callback, clock: Clock) -> Callback:
    """The callback, whose step hooks run only in the variants that have it, and are timed."""
    for hook in STEP_HOOKS:
        original = getattr(callback, hook)

        def timed(trainer: Any, pl_module: Any, *args: Any, original: Any = original) -> None:
            if name not in VARIANTS[clock.variant]:
                return
            start = now(pl_module)
            original(trainer, pl_module, *args)
            clock.hooks[name] += now(pl_module) - start

        setattr(callback, hook, timed)
    return callback


def now(module: Any) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Views(torch.utils.data.Dataset[ViewBatch]):
    """Batches that cost nothing to make and lie on the device, so that the step is the network's own."""

    def __init__(self, batches: int, batch: int, size: int, device: str) -> None:
        self.batches, self.batch = batches, batch
        self.images = torch.rand(2 * batch, 3, size, size, device=device)
        self.targets, self.indices = torch.arange(batch, device=device) % 10, torch.arange(batch, device=device)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> ViewBatch:
        return ViewBatch([self.images[: self.batch], self.images[self.batch :]], self.targets, self.indices)


def labeled(rows: int, batch: int, size: int) -> DataLoader[Any]:
    images = torch.rand(rows, 3, size, size)
    return DataLoader(torch.utils.data.TensorDataset(images, torch.arange(rows) % 10), batch_size=batch)


@dataclass(frozen=True)
class Found:
    """Seconds.

    Attributes:
        steps: of each step, by variant.
        own: in the monitors' own hooks, per step on average, by variant.
        validation: of the last one.
        precision: of the run.
    """

    steps: dict[str, list[float]]
    own: dict[str, float]
    validation: float
    precision: str


def measure(
    module: SSLModule, *, device: str, steps: int, batch: int = BATCH, size: int = 32, bank: int = 5000
) -> Found:
    """Train for so many steps, with the monitors on and off in turn.

    Args:
        module: that is trained.
        device: "cpu" or "cuda".
        steps: of the run.
        batch: images per step.
        size: side of a view, pixels.
        bank: rows of kNN's bank; a fifth of it are queries.
    """
    clock = Clock()
    monitors = {
        "probe": OnlineLinearProbe(num_classes=10),
        "kNN": KNNMonitor(k=[k for k in (20, 200) if k < bank], bank=labeled(bank, batch, size), baselines=False),
        "collapse": CollapseMonitor(every_n_steps=BLOCK),
    }
    bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else has_fast_bfloat16()
    trainer = Trainer(
        accelerator=device,
        devices=1,
        precision="bf16-mixed" if bf16 else "32-true",
        max_epochs=1,
        callbacks=[clock, *(switched(name, monitor, clock) for name, monitor in monitors.items()), Finish(clock)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, DataLoader(Views(steps, batch, size, device), batch_size=None), labeled(bank // 5, batch, size))
    # Each monitor is on in two variants of five.
    own = {
        name: clock.hooks[name] / (steps * 2 / len(VARIANTS)) * (BLOCK / COLLAPSE_EVERY if name == "collapse" else 1)
        for name in monitors
    }
    by_variant = {variant: sum(own[name] for name in names) for variant, names in VARIANTS.items()}
    return Found(clock.steps, by_variant, clock.validations[-1], str(trainer.precision))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    module = get_method("SimCLR")(
        "resnet18",
        stem="cifar",
        backbone_kwargs={"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8},
        lr_scaling="none",
        warmup_epochs=0.1,
    )
    found = measure(module, device=arguments.device, steps=arguments.steps)
    base = statistics.median(found.steps["none"])
    setting = f"{found.precision}, {arguments.device}, {arguments.steps} steps"
    print(f"SimCLR, ResNet-10 of width 16, 2 x {BATCH} views of 32 x 32, {setting}")
    print(f"{'':12}{'median step':>14}{'against none':>14}{'in its hooks':>14}{'of the step':>13}")
    for variant, own in found.own.items():
        median = statistics.median(found.steps[variant])
        print(f"{variant:12}{median * 1e3:11.2f} ms{median / base - 1:+13.1%} {own * 1e3:10.3f} ms{own / base:12.2%}")
    print(f"validation with kNN (5,000 in the bank, 1,000 queries), ridge and probe: {found.validation:.2f} s")


if __name__ == "__main__":
    main()
