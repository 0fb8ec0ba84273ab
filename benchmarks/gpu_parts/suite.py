"""Tests of the suite that need a GPU, and training steps in which the host must not wait for the device."""

import re
import subprocess
import sys
import traceback
from typing import Any

import torch

from gpu_parts.identity import ROOT
from gpu_parts.plan import Row, Setup
from sslbolts._lightning import Callback, Trainer
from sslbolts.methods import METHODS

WARM, WATCHED = 2, 3  # steps


def cuda_tests(item: str, setup: Setup) -> Row:
    """Passed, failed and skipped tests with the marker "cuda"; where there is no GPU all are skipped."""
    junit = setup.folder / "cuda_tests.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", f"--junit-xml={junit}", str(ROOT / "tests")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=min(setup.seconds, 480))
    print(done.stdout)
    counted = {
        what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.split("\n")[-2])
    }
    if not counted:
        raise RuntimeError(f"pytest did not run: {done.stdout[-300:]} {done.stderr[-300:]}")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    return {
        "tests": sum(counted.values()),
        "passed": counted.get("passed", 0),
        "skipped": counted.get("skipped", 0),
        "failed": ", ".join(failed) or "none",
    }


def no_waiting(name: str, setup: Setup) -> Row:
    """A method's steps under CUDA's own check, after warm-up: alone, and with transfer and views of images."""
    sys.path.insert(0, str(ROOT))
    from tests.invariants.cases import case_of

    case = case_of(name)
    row = {"the step": _verdict(case.module(), case.loader(), setup)}
    if METHODS[name].learns_from == "images":
        row["with transfer and views"] = _verdict(case.module(), case.images(), setup)
    return row


def _verdict(module: Any, data: Any, setup: Setup) -> str:
    """Whether it waits, and where."""
    whole = not isinstance(data, torch.utils.data.DataLoader)  # a DataModule, whose loading is watched too
    watch = _Watch(whole, setup.device)
    trainer = Trainer(
        accelerator="gpu" if setup.device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if setup.device == "cuda" else "32-true",
        max_epochs=1,
        limit_train_batches=WARM + WATCHED,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    try:
        trainer.fit(module, data)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/sslbolts/" in frame.filename] or frames
        where = f"{ours[-1].filename.rpartition('/sslbolts/')[2]}, line {ours[-1].lineno}"
        return f"waits in {where}"
    assert watch.watched > 1, "no step was watched"
    return "never waits" if setup.device == "cuda" else "runs (nothing to wait for on a CPU)"


class _Watch(Callback):
    """Lets CUDA raise wherever the host waits: in steps, or from the first one that is watched to the last."""

    def __init__(self, whole: bool, device: str) -> None:
        self.whole, self.device = whole, device
        self.watched = 0  # steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx >= WARM:
            self.watched += 1
            self._raise(True)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.whole or batch_idx == WARM + WATCHED - 1:
            self._raise(False)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._raise(False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._raise(False)

    def _raise(self, on: bool) -> None:
        if self.device == "cuda":
            torch.cuda.set_sync_debug_mode("error" if on else "default")
