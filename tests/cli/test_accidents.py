"""Accidents of a run while it trains: one line each, and no traceback."""

import errno
import multiprocessing
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sslbolts._lightning import Callback, Trainer, lightning_module
from sslbolts.callbacks import NanGuard
from sslbolts.cli import main
from sslbolts.cli.run.accidents import accidents_explained
from sslbolts.cli.training import TrainingCLI
from sslbolts.errors import UsageError
from tests.cli.test_training import DATA, MODEL, QUIET, run

SHORT = ["--trainer.max_epochs=3", "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"]
LOGGER = ["CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.logger.name=mine", "--trainer.logger.version="]
FIT = ["fit", *MODEL, *DATA, *QUIET, *SHORT, "--trainer.limit_train_batches=4"]
RUN = [
    *(*FIT, f"--trainer.logger={LOGGER[0]}", *LOGGER[1:]),
    *("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.dirpath=runs/mine"),
    *("--trainer.callbacks.save_last=true", "--trainer.callbacks.enable_version_counter=false"),
]
LAST = Path("runs/mine/last.ckpt")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


class At(Callback):
    """Does something once, before the batch that follows a number of steps."""

    def __init__(self, step: int, what: Callable[[Any], Any]) -> None:
        self.step, self.what, self.done = step, what, False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self.step and not self.done:
            self.done = True
            self.what(pl_module)


@pytest.fixture
def said(capsys) -> Callable[..., str]:
    """The one line that a command ends with, into whose training something happened."""

    def said(argv: list[str], step: int, what: Callable[[Any], Any]) -> str:
        before = TrainingCLI.before_fit

        def hook(cli: Any) -> None:
            before(cli)
            cli.trainer.callbacks.insert(0, At(step, what))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingCLI, "before_fit", hook)
            assert main(argv) == 2
        printed = capsys.readouterr().err
        # A thread of multiprocessing may still show, when the training is over, that a worker was gone.
        assert "Traceback" not in printed or "multiprocessing/resource_sharer.py" in printed
        (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert len(line) < 600
        return line

    return said


def spoil(module: Any) -> None:
    with torch.no_grad():
        next(module.parameters()).fill_(torch.nan)


def test_a_run_that_diverges_ends_in_one_line_and_keeps_its_checkpoint(said):
    line = said([*RUN, "--trainer.callbacks.every_n_train_steps=2"], 5, spoil)
    assert "training has diverged: train/loss" in line
    assert "since step 6, and weights are NaN or infinite (backbone." in line
    assert f"The last good checkpoint is {LAST.resolve()}." in line
    kept = torch.load(LAST, weights_only=True)
    assert kept["global_step"] == 4
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    assert main([*RUN, f"--ckpt_path={LAST}", "--model.optimizer.lr=0.01"]) == 0
    assert torch.load(LAST, weights_only=True)["global_step"] == 12


def test_a_guard_that_is_given_takes_the_place_of_the_commands():
    short = [*FIT, "--trainer.fast_dev_run=1"]
    (default,) = [callback for callback in run(*short).trainer.callbacks if isinstance(callback, NanGuard)]
    assert default.every_n_steps == 10
    given = run(*short, "--trainer.callbacks=NanGuard", "--trainer.callbacks.every_n_steps=7").trainer.callbacks
    assert [callback.every_n_steps for callback in given if isinstance(callback, NanGuard)] == [7]


def test_a_disk_that_is_full_when_a_checkpoint_is_written(said, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    line = said(RUN, 5, lambda _: monkeypatch.setattr(os, "fsync", full))
    assert "last.ckpt could not be written: No space left on device. Make room there" in line or "step=8.ckpt" in line
    assert torch.load(LAST, weights_only=True)["global_step"] == 4


def test_a_disk_that_is_full_when_the_log_is_written(said, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/mine/metrics.csv")

    line = said(
        RUN, 5, lambda _: monkeypatch.setattr(lightning_module("loggers.csv_logs").ExperimentWriter, "save", full)
    )
    assert "there is no room left for runs/mine/metrics.csv (No space left on device): make room there" in line


@pytest.mark.parametrize("argv", [RUN, FIT], ids=["CSVLogger", "TensorBoardLogger"])
def test_a_folder_that_is_deleted_meanwhile(said, argv):
    line = said(argv, 5, lambda _: shutil.rmtree("runs"))
    assert "error: the run's folder runs/" in line
    assert "was moved or deleted while it trained" in line


def test_a_worker_that_is_killed(said):
    def kill(_: Any) -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)

    line = said([*RUN, "--data.num_workers=1", "--trainer.limit_train_batches=30"], 3, kill)
    # The signal is known unless the training was just fetching a batch from the process.
    assert re.search(r"a worker process that loads images (was ended by a signal \(Killed\)|has ended)", line)
    assert "a smaller --data.num_workers or --data.batch_size" in line


@pytest.mark.parametrize("workers", [0, 1])
def test_photos_that_are_deleted_meanwhile(said, workers):
    Path("photos").mkdir()
    for number in range(64):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(f"photos/{number}.png")
    folder = ["--data=ImageFolder", "--data.root=photos", "--data.image_size=32", "--data.on_bad_image=skip"]
    argv = [*RUN, *folder, "--data.batch_size=8", f"--data.num_workers={workers}", "--trainer.limit_train_batches=8"]
    line = said([*argv, "--data.in_memory=false"], 9, lambda _: shutil.rmtree("photos"))
    assert line.startswith("error: 100 images in a row could not be used, the last of them photos/")
    assert "Have the files been moved or deleted?" in line


def test_settings_of_an_optimizer_that_cannot_be_changed_any_more_are_warned_of():
    assert main([*RUN, "--trainer.max_epochs=1"]) == 0
    with pytest.warns(UserWarning, match=r"no effect: weight_decay=0.5 \(the checkpoint has "):
        assert main([*RUN, f"--ckpt_path={LAST}", "--model.optimizer.weight_decay=0.5"]) == 0


def test_other_batches_and_images_are_taken_as_they_are():
    assert main([*RUN, "--trainer.max_epochs=1"]) == 0
    assert main([*RUN, f"--ckpt_path={LAST}", "--trainer.max_epochs=2", "--data.batch_size=16"]) == 0
    assert torch.load(LAST, weights_only=True)["global_step"] == 8


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "a worker process that loads images has"),
        (
            RuntimeError(
                "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [1.2.3.4]"
            ),
            "another process of this training has ended",
        ),
        (
            torch.distributed.DistBackendError("NCCL error in: x.cpp:1, ncclRemoteError: A call failed"),
            "another process of this training has ended",
        ),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is"), "for want of shared memory"),
        (KeyError("Trying to restore optimizer state but checkpoint contains only the model."), "holds weights alone"),
        (ValueError("loaded state dict has a different number of parameter groups"), "is not of this run: loaded"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no room left for the files of the run, in runs"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_torch_and_lightning_in_other_words(error, words):
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir="runs")
    with pytest.raises(UsageError, match=words), accidents_explained(trainer):
        raise error


def test_a_writers_thread_says_nothing_of_a_folder_that_is_gone_and_a_bug_in_one_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_type))

    def write(error: Exception) -> None:
        raise error

    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir="runs")
    with accidents_explained(trainer):
        for error in (FileNotFoundError(errno.ENOENT, "no", b"runs/events"), ValueError("a bug")):
            thread = threading.Thread(target=write, args=(error,))
            thread.start()
            thread.join()
    assert told == [ValueError]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "no", "elsewhere/a.txt")])
def test_bugs_stay_what_they_are(error):
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir="runs")
    with pytest.raises(type(error)) as raised, accidents_explained(trainer):
        raise error
    assert raised.value is error
