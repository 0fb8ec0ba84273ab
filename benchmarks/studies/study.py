"""Runner of a study: variants of a method trained side by side on the packaged images, and a paper's claims on them.

Each file beside this one is a study: ``python benchmarks/studies/loss_variants.py``. It trains every variant with
every seed on the 5,000 packaged images at 16 pixels, in processes of one thread, and judges the features on the 1,000
others by a closed-form ridge classifier and 20 nearest neighbors. ``benchmarks/results/studies/NAME.json`` keeps every
run, so that an interrupted study goes on; ``NAME.md`` has the table and the claims, ``NAME.png`` the picture.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sslbolts import SSLModule
from sslbolts._lightning import LIGHTNING, Trainer, seed_everything
from sslbolts.cli.demo import has_fast_bfloat16
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import features_of, load_encoder
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure, save, tidy
from sslbolts.readouts import knn_predict, rankme, ridge_classifier
from sslbolts.transforms import MultiCrop, MultiView, View

RESULTS = Path(__file__).parents[1] / "results" / "studies"
ADAMW = partial(torch.optim.AdamW, lr=4e-3, weight_decay=0.05)
NETWORK: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_kwargs": {
        "layers": [1, 1, 1, 1],
        "channels": [32, 48, 64, 128],
        "stem_type": "deep",
        "stem_width": 16,
        "output_stride": 8,
    },
    "optimizer": ADAMW,
    "lr_scaling": "none",
    "warmup_epochs": 0.5,
}
"""A narrow ResNet-10 and its optimizer, as arguments of any method."""

SIZE = 16
COLORED = MultiView((View(SIZE, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2),) * 2)


@dataclass(frozen=True)
class Variant:
    """A row of a study's table.

    Attributes:
        name: of the row.
        make: makes the method.
        published: the paper's number, for people to compare; None where it has none.
        views: what it is trained on; two colored crops by default.
        epochs: passes over the images; None is the study's.
        batch_size: images per step.
        layers: layers that are judged besides the backbone's features.
    """

    name: str
    make: Callable[[], SSLModule]
    published: float | None = None
    views: MultiView | MultiCrop = COLORED
    epochs: int | None = None
    batch_size: int = 128
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """What a paper says: one row is better than another.

    Attributes:
        better: name of a row, or ``"ROW: LAYER"``.
        worse: that of another.
        metric: "ridge", "knn" or "rankme".
    """

    better: str
    worse: str
    metric: str = "ridge"


@dataclass(frozen=True)
class Study:
    """A table of a paper, tried in small.

    Attributes:
        name: of its files.
        title: of its page.
        about: the question, what the paper found, and what is different here.
        variants: the rows.
        claims: what the paper's order says.
        epochs: of every run.
        draw: draws the picture in place of the dots, from the mean ridge accuracy of every row, into a file.
    """

    name: str
    title: str
    about: str
    variants: Sequence[Variant]
    claims: Sequence[Claim]
    epochs: int = 6
    draw: Callable[[dict[str, float], Path], None] | None = None


def run_once(study: Study, variant: Variant, seed: int) -> dict[str, dict[str, float]]:
    """Metrics of a variant's features, by the name of the row; of each further layer by ``"ROW: LAYER"``."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger(f"{LIGHTNING}.utilities.rank_zero").setLevel(logging.ERROR)
    seed_everything(seed, verbose=False)
    data = CIFAR10MiniDataModule(batch_size=variant.batch_size, views=variant.views, image_size=SIZE, num_workers=0)
    method = variant.make()
    trainer = Trainer(
        max_epochs=variant.epochs or study.epochs,
        accelerator="cpu",
        precision="bf16-mixed" if has_fast_bfloat16() else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    started = time.process_time()
    trainer.fit(method, data)
    seconds = time.process_time() - started
    rows = {variant.name: judged(method, data) | {"seconds": seconds}}
    return rows | {f"{variant.name}: {layer}": judged(method, data, layer) for layer in variant.layers}


@torch.no_grad()
def judged(method: SSLModule, data: CIFAR10MiniDataModule, layer: str = "backbone") -> dict[str, float]:
    """Ridge and kNN-20 accuracy of a layer's features on the 1,000 test images, and the rank of these features."""
    encoder = load_encoder(method, layer=layer, device="cpu")
    bank, tested = (features_of(encoder, data, split) for split in ("bank", "test"))
    if not bank.features.isfinite().all() or not tested.features.isfinite().all():
        return {"ridge": float("nan"), "knn": float("nan"), "rankme": float("nan")}

    def share(scores: torch.Tensor) -> float:
        return float((scores.argmax(-1) == tested.targets).float().mean())

    return {
        "ridge": share(ridge_classifier(tested.features, bank.features, bank.targets).scores),
        "knn": share(knn_predict(tested.features, bank.features, bank.targets, k=20)),
        "rankme": float(rankme(tested.features)),
    }


def main(study: Study) -> None:
    """Run what is not there yet, and write page and picture."""
    parser = argparse.ArgumentParser(description=study.about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, one thread each")
    parser.add_argument("--again", action="store_true", help="forget the runs that are there")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{study.name}.json"
    runs: dict[str, Any] = {} if arguments.again or not file.exists() else json.loads(file.read_text())
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        left = {
            pool.submit(run_once, study, variant, seed): f"{variant.name}, seed {seed}"
            for seed in arguments.seeds
            for variant in study.variants
            if f"{variant.name}, seed {seed}" not in runs
        }
        for done in as_completed(left):
            runs[left[done]] = {"rows": done.result(), **circumstances()}
            file.write_text(json.dumps(runs, indent=1) + "\n")
            print(left[done], runs[left[done]]["rows"], flush=True)
    rows = by_row(runs, study, arguments.seeds)
    (RESULTS / f"{study.name}.md").write_text(page(study, rows, runs, arguments.seeds))
    picture = RESULTS / f"{study.name}.png"
    means = {name: statistics.fmean(values["ridge"]) for name, values in rows.items()}
    study.draw(means, picture) if study.draw else dots(study, rows, picture)
    print((RESULTS / f"{study.name}.md").read_text())


def circumstances() -> dict[str, str]:
    """Commit, date and hardware of a run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} {platform.machine()} cores",
        "torch": torch.__version__,
    }


def by_row(runs: dict[str, Any], study: Study, seeds: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """Row -> metric -> its values, one per seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for variant in study.variants:
        for seed in seeds:
            for name, metrics in runs[f"{variant.name}, seed {seed}"]["rows"].items():
                for metric, value in metrics.items():
                    found.setdefault(name, {}).setdefault(metric, []).append(value)
    return found


def verdict(claim: Claim, rows: dict[str, dict[str, list[float]]]) -> str:
    """Whether an order was found again: for every seed, in the mean only, or not."""
    differences = [a - b for a, b in zip(rows[claim.better][claim.metric], rows[claim.worse][claim.metric])]
    scale, unit = (1, "") if claim.metric == "rankme" else (100, " points")
    mean = f"{scale * statistics.fmean(differences):+.1f}{unit}"
    if all(difference > 0 for difference in differences):
        return f"yes, for every seed ({mean})"
    return f"in the mean only ({mean})" if statistics.fmean(differences) > 0 else f"**no** ({mean})"


def page(study: Study, rows: dict[str, dict[str, list[float]]], runs: dict[str, Any], seeds: Sequence[int]) -> str:
    """The study as Markdown."""
    published = {variant.name: variant.published for variant in study.variants}
    has_published = any(value is not None for value in published.values())
    table = ["| | ridge (%) | kNN-20 (%) | RankMe |" + (" paper (%) |" if has_published else "")]
    table.append("|---|---|---|---|" + ("---|" if has_published else ""))
    for name, values in rows.items():
        cells = [name, *(spread([100 * v for v in values[m]]) for m in ("ridge", "knn")), spread(values["rankme"])]
        if has_published:
            value = published.get(name)
            cells.append("" if value is None else f"{value:g}")
        table.append("| " + " | ".join(cells) + " |")
    claims = ["| the paper's order | measured by | found again |", "|---|---|---|"]
    claims += [f"| {c.better} > {c.worse} | {c.metric} | {verdict(c, rows)} |" for c in study.claims]
    seconds = [run["rows"][variant.name]["seconds"] for variant in study.variants for seed in seeds
               if (run := runs[f"{variant.name}, seed {seed}"])]  # fmt: skip
    facts = sorted({f"commit {r['commit']}, {r['date']}, {r['hardware']}, torch {r['torch']}" for r in runs.values()})
    epochs = sorted({variant.epochs or study.epochs for variant in study.variants})
    return "\n".join(
        [
            f"# {study.title}",
            "",
            f"    python benchmarks/studies/{study.name}.py --seeds {' '.join(map(str, seeds))}",
            "",
            study.about,
            "",
            *table,
            "",
            f"Mean over seeds {', '.join(map(str, seeds))}, ± half of what lies between the lowest and the highest. "
            f"{' or '.join(map(str, epochs))} epochs on 5,000 images of {SIZE} pixels, judged on 1,000; "
            f"{min(seconds):.0f} to {max(seconds):.0f} s of one core per run.",
            "",
            *claims,
            "",
            f"![{study.title}]({study.name}.png)",
            "",
            *facts,
            "",
        ]
    )


def spread(values: Sequence[float]) -> str:
    """Mean, and half of the range.

    Example:
        >>> spread([1.0, 3.0])
        '2.0 ± 1.0'
    """
    return f"{statistics.fmean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}"


def dots(study: Study, rows: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Ridge and kNN of every row, a dot per seed; the first row on top."""
    figure = new_figure(8.5, 1.4 + 0.36 * len(rows))
    axes = figure.subplots()
    for metric, color, shift in (("ridge", COLORS[1], 0.12), ("knn", COLORS[0], -0.12)):
        for place, values in enumerate(rows.values()):
            label = {"ridge": "ridge", "knn": "kNN-20"}[metric] if place == 0 else None
            x = [100 * value for value in values[metric]]
            axes.scatter(x, [place + shift] * len(x), color=color, label=label, zorder=3)
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.invert_yaxis()
    tidy(axes, title=study.title, xlabel="accuracy on 1,000 test images (%), a dot per seed", ylabel="")
    axes.legend(frameon=False, labelcolor=MUTED)
    save(figure, path)
