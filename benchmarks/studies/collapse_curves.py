"""Curves of a run that collapses, beside one that does not: SimSiam without and with its stopped gradient.

``python benchmarks/studies/collapse_curves.py`` trains both on the packaged images with the monitors that a user would
have, and writes ``benchmarks/results/studies/collapse_curves.json``, ``.png`` and ``.md``; with ``--draw`` it draws the
runs of that file again.
"""

import argparse
import json
import math
import os
import warnings
from functools import partial
from typing import Any

import torch
from collapse import WithGradient, small
from study import COLORED, RESULTS, SIZE, circumstances

from sslbolts import SimSiam
from sslbolts._lightning import Callback, Trainer, seed_everything
from sslbolts.callbacks import CollapseMonitor, KNNMonitor
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.pictures.style import COLORS, new_figure, save, tidy

EPOCHS = 8
RUNS = {"SimSiam": partial(SimSiam, **small), "SimSiam without stop-gradient": partial(WithGradient, **small)}
CURVES = {
    "train/loss": "train/loss",
    "collapse/std": "collapse/std (1: evenly spread)",
    "collapse/effective_rank": "collapse/effective_rank",
    "rankme": "rankme",
    "knn/k20_t0.07": "20 nearest neighbors (%)",
}


class Curves(Callback):
    """Keeps what was logged, once per epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.epochs.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def run(make: Any) -> dict[str, list[float]]:
    """Metric -> its value after each epoch."""
    seed_everything(0, verbose=False)
    curves = Curves()
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        callbacks=[KNNMonitor(k=20, baselines=False), CollapseMonitor(every_n_steps=10), curves],
    )
    method = make()
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=128, views=COLORED, image_size=SIZE, num_workers=0))
    found = {name: [epoch[name] for epoch in curves.epochs] for name in CURVES}
    found["collapse/std"] = [value * math.sqrt(small["output_dim"]) for value in found["collapse/std"]]
    found["knn/k20_t0.07"] = [100 * value for value in found["knn/k20_t0.07"]]
    return found


def draw(runs: dict[str, dict[str, list[float]]]) -> None:
    figure = new_figure(11.0, 6.0)
    grid = figure.subplots(2, 3)
    for axes, (metric, title) in zip(grid.flat, CURVES.items()):
        for color, (name, curves) in zip(COLORS, runs.items()):
            axes.plot(range(1, EPOCHS + 1), curves[metric], color=color, label=name)
        tidy(axes, title=title, xlabel="epoch", ylabel="")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    grid.flat[5].axis("off")
    grid.flat[5].legend(handles, labels, loc="center", frameon=False)
    save(figure, RESULTS / "collapse_curves.png")


def page(runs: dict[str, dict[str, list[float]]], facts: dict[str, str]) -> str:
    lines = ["| after the last epoch | " + " | ".join(runs) + " |", "|---|" + "---|" * len(runs)]
    lines += [f"| `{m}` | " + " | ".join(f"{curves[m][-1]:.3g}" for curves in runs.values()) + " |" for m in CURVES]
    return "\n".join(
        [
            "# Curves of a collapsed run",
            "",
            "    python benchmarks/studies/collapse_curves.py",
            "",
            "SimSiam as published, and with a gradient into its targets (Chen and He 2021, arXiv:2011.10566, table 1), "
            f"{EPOCHS} epochs on 5,000 images of {SIZE} pixels, seed 0. `collapse/std` is multiplied by the root of "
            "the width: 1 is an even spread, 0 one point.",
            "",
            *lines,
            "",
            "![curves of both runs](collapse_curves.png)",
            "",
            f"commit {facts['commit']}, {facts['date']}, {facts['hardware']}, torch {facts['torch']}",
            "",
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="draw the runs that are there")
    file = RESULTS / "collapse_curves.json"
    if not parser.parse_args().draw:
        found = {"runs": {name: run(make) for name, make in RUNS.items()}, **circumstances()}
        file.write_text(json.dumps(found, indent=1) + "\n")
    facts = json.loads(file.read_text())
    runs = facts["runs"]
    RESULTS.joinpath("collapse_curves.md").write_text(page(runs, facts))
    draw(runs)
    print(page(runs, facts))
