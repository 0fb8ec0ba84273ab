"""A long run of the smallest configuration with all callbacks: memory, step time, and what it leaves behind.

    python benchmarks/soak.py [--steps 10000] [--write]

MoCo v3 on a vision transformer of two blocks, 16 of the packaged images per batch, one worker process, an epoch of 100
steps, and everything that writes or looks: the monitors, the pictures, checkpoints, both loggers. Memory is measured at
the start of each epoch, where nothing of a batch is alive. A first fifth of the run (at most 2,000 steps) is warm-up:
caches, pools and the allocator's reserves fill there. Beside each epoch's steps a fixed piece of work is timed, and
step times are compared in units of it: a machine with other work is slower at one time than at another. `--write` puts
the page into benchmarks/results/soak.md.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from sslbolts._lightning import Callback, Trainer, lightning_module
from sslbolts.callbacks import (
    AttentionMaps,
    AugmentationSheet,
    ClusterSheet,
    CollapseMonitor,
    EmbeddingPlot,
    KNNMonitor,
    NanGuard,
    NeighborSheet,
    OnlineLinearProbe,
    Preflight,
    RunRecord,
    SaveOnSignal,
    WhitenedStem,
)
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.methods import get_method

PAGE = Path(__file__).parent / "results" / "soak.md"
EPOCH = 100
WARM_UP = 2000
ALLOWED_GROWTH = 20.0
ALLOWED_RATIO = 1.25
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


@dataclass(frozen=True)
class Sample:
    """The process at one moment: MiB of resident memory, threads, open files and worker processes."""

    step: int
    memory: float
    threads: int
    files: int
    workers: int


@dataclass
class Figures:
    """A soak: samples at the start of each epoch, one before and one after the run, and all steps' seconds.

    ``relative`` is a step's processor time over that of the fixed piece of work in the same epoch.
    """

    before: Sample
    samples: list[Sample] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    relative: list[float] = field(default_factory=list)
    after: Sample | None = None
    left: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return len(self.wall)

    @property
    def warmed_up(self) -> int:
        return min(WARM_UP, self.steps // 5)

    @property
    def growth(self) -> float:
        """MiB from the end of warm-up to the end: medians of as many samples as there are in a tenth of the run."""
        later = [sample.memory for sample in self.samples if sample.step >= self.warmed_up]
        few = max(len(self.samples) // 10, 1)
        return statistics.median(later[-few:]) - statistics.median(later[:few])

    def ratio(self, seconds: list[float]) -> float:
        """The median step of the last thousand (at most a tenth of the run) over that of the first, after ten steps."""
        few = max(min(1000, self.steps // 10), 1)
        return statistics.median(seconds[-few:]) / statistics.median(seconds[10 : 10 + few])


def faults(figures: Figures) -> list[str]:
    """What is not flat, or was left behind."""
    found = []
    if figures.growth > ALLOWED_GROWTH:
        found.append(f"memory grew by {figures.growth:.1f} MiB after warm-up")
    if (ratio := figures.ratio(figures.relative)) > ALLOWED_RATIO:
        found.append(f"the last steps took {ratio:.2f} times as long as the first, beside a fixed piece of work")
    first, last = next(s for s in figures.samples if s.step >= figures.warmed_up), figures.samples[-1]
    assert figures.after is not None
    for name in ("threads", "files", "workers"):
        if getattr(last, name) > getattr(first, name):
            found.append(f"{name} while it trains: {getattr(first, name)}, later {getattr(last, name)}")
        if getattr(figures.after, name) > getattr(figures.before, name):
            found.append(f"{name} before: {getattr(figures.before, name)}, after: {getattr(figures.after, name)}")
    return found


def sample(step: int) -> Sample:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(
        step,
        memory,
        len(os.listdir("/proc/self/task")),
        len(os.listdir("/proc/self/fd")),
        len(multiprocessing.active_children()),
    )


def fixed_work() -> float:
    """Processor seconds of a small piece of work that is always the same; the median of several tries."""
    convolution, images = torch.nn.Conv2d(3, 16, 3), torch.ones(16, 3, 32, 32)
    tries = []
    for _ in range(15):
        start = time.process_time()
        convolution(images).sum().backward()
        tries.append(time.process_time() - start)
    return statistics.median(tries)


class Meter(Callback):
    """Measures each step that follows another one at once, and the process at each epoch's start."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.last: tuple[float, float] | None = None
        self.fixed = 1.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        gc.collect()
        self.figures.samples.append(sample(trainer.global_step))
        with torch.random.fork_rng():
            self.fixed = fixed_work()
        self.last = None

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        now = time.perf_counter(), time.process_time()
        if self.last is not None:
            self.figures.wall.append(now[0] - self.last[0])
            self.figures.processor.append(now[1] - self.last[1])
            self.figures.relative.append((now[1] - self.last[1]) / self.fixed)
        self.last = now


def trainer_of(folder: Path, steps: int, epoch: int, *callbacks: Callback) -> Trainer:
    """A Trainer with every callback that this method can have."""
    loggers, saver = lightning_module("loggers"), lightning_module("callbacks").ModelCheckpoint
    drawn = {"every_n_epochs": 10}
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        limit_train_batches=epoch,
        limit_val_batches=2,
        logger=[loggers.CSVLogger(folder, "csv"), loggers.TensorBoardLogger(folder, "events")],
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[
            NanGuard(),
            Preflight(),
            WhitenedStem(max_images=200),
            OnlineLinearProbe(num_classes=10),
            KNNMonitor(k=5, max_bank=500),
            CollapseMonitor(),
            AugmentationSheet(2, 2),
            NeighborSheet(3, 3, max_bank=200, **drawn),
            EmbeddingPlot(max_images=100, **drawn),
            ClusterSheet(max_images=100, **drawn),
            AttentionMaps(images=2, **drawn),
            RunRecord(["python", "benchmarks/soak.py"]),
            SaveOnSignal(),
            saver(folder / "checkpoints", save_last=True, every_n_train_steps=epoch // 2),
            *callbacks,
        ],
    )


def run(folder: Path, steps: int, epoch: int, *callbacks: Callback) -> None:
    torch.manual_seed(0)
    module = get_method("MoCoV3")(
        "vit_tiny_patch16_224", backbone_kwargs=VIT, hidden_dim=16, output_dim=16, lr_scaling="none", warmup_epochs=0.5
    )
    trainer_of(folder, steps, epoch, *callbacks).fit(module, images())


def images() -> DatasetDataModule:
    """The packaged images as a data set of somebody's own, which one worker process loads."""
    packaged = CIFAR10MiniDataModule()
    train, val = (
        TensorDataset(split.data, torch.as_tensor(split.targets)) for split in map(packaged.load, ("train", "val"))
    )
    return DatasetDataModule(
        train,
        val=val,
        num_classes=10,
        image_size=32,
        views="moco_v2",
        batch_size=16,
        eval_batch_size=100,
        num_workers=1,
        in_memory=False,
    )


def soak(steps: int, folder: Path) -> Figures:
    """Train so many steps in a folder; a short run before makes what a process makes once."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    run(folder / "first", 22, 2)  # each picture is drawn at the end of epoch 10
    gc.collect()
    known = set(threading.enumerate())
    figures = Figures(sample(0))
    run(folder / "soak", steps, EPOCH, Meter(figures))
    gc.collect()
    time.sleep(1.0)  # a thread that was told to end does
    figures.after = sample(steps)
    figures.left = [thread.name for thread in threading.enumerate() if thread not in known]
    return figures


def report(figures: Figures, command: str, commit: str) -> str:
    """The page, in Markdown."""
    assert figures.after is not None
    every = max(len(figures.samples) // 10, 1)
    shown = [*figures.samples[::every], figures.after]
    rows = [f"| {s.step:,} | {s.memory:.1f} | {s.threads} | {s.files} | {s.workers} |" for s in shown]
    found = faults(figures)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    median = statistics.median(figures.processor) * 1e3
    lines = [
        "# A long run",
        "",
        f"    {command}",
        "",
        f"Commit {commit}, {date.today()}, {_machine()}, {versions}.",
        "Other work may have run on the machine.",
        "",
        f"- Memory from step {figures.warmed_up:,} on: {figures.growth:+.1f} MiB ({ALLOWED_GROWTH:g} are allowed).",
        f"- Last steps over first: {figures.ratio(figures.relative):.3f} in units of a fixed piece of work, "
        f"{figures.ratio(figures.processor):.3f} in processor time (median {median:.1f} ms), "
        f"{figures.ratio(figures.wall):.3f} on the clock.",
        f"- Before and after the run: {figures.before.threads} and {figures.after.threads} threads, "
        f"{figures.before.files} and {figures.after.files} open files, {figures.before.workers} and "
        f"{figures.after.workers} worker processes.",
        f"- {'Faults: ' + '; '.join(found) if found else 'Nothing grows, and nothing is left.'}",
        "",
        "| step | memory (MiB) | threads | open files | workers |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        "The last row is the process after the run.",
    ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    commit = _commit()  # before it: another may stand there hours later
    with tempfile.TemporaryDirectory() as folder:
        figures = soak(arguments.steps, Path(folder))
    text = report(figures, f"python benchmarks/soak.py --steps {arguments.steps}", commit)
    print(text)
    if arguments.write:
        PAGE.write_text(text)
    return 1 if faults(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
