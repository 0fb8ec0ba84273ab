"""Signals: a checkpoint at the end of a step, from which training goes on exactly."""

import os
import resource
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks import SaveOnSignal
from sslbolts.callbacks.shared.watch import Watch
from sslbolts.callbacks.signals import _free_signals, ended_by_signals
from sslbolts.data import DatasetDataModule
from sslbolts.errors import UsageError
from tests.helpers.trainers import quiet_trainer, state_of

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138, signal.SIGHUP: 129}


class Module(LightningModule):
    """A weight that follows the data, with momentum and a running count of what its hooks saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.register_buffer("hooks", torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.mean((2, 3)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (self(batch.views[0]) - self.global_step).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.hooks[0] += 1

    def on_validation_epoch_end(self) -> None:
        self.hooks[1] += self.linear.weight.detach().sum()

    def on_train_epoch_end(self) -> None:
        self.hooks[2] += 1

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Sender(Callback):
    """Sends this process a signal in the middle of a batch of training, or of validation."""

    def __init__(self, number: int, batch: int = -1, validation: int = -1) -> None:
        self.number, self.batch, self.validation = number, batch, validation

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if not trainer.sanity_checking and trainer.fit_loop.total_batch_idx == self.validation:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def images() -> TensorDataset:
    pixels = torch.randint(0, 256, (32, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(pixels, torch.zeros(32, dtype=torch.int64))


def fit(images: TensorDataset, *callbacks: Callback, ckpt_path: Path | None = None, **settings: Any) -> Module:
    """Epochs of 4 batches, or what ``settings`` say, on one module from one seed."""
    torch.manual_seed(0)
    module = Module()
    data = DatasetDataModule(images, num_classes=1, val=images, batch_size=8, seed=1, num_workers=0)
    trainer = quiet_trainer(callbacks=list(callbacks), **{"max_epochs": 3, "limit_val_batches": 2} | settings)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return module


def interrupted(images: TensorDataset, folder: Path, sender: Sender, **settings: Any) -> tuple[int, int]:
    """Exit code of a run that got a signal, and the step of its checkpoint."""
    with pytest.raises(SystemExit) as left:
        fit(images, SaveOnSignal(folder), sender, **settings)
    return left.value.code, torch.load(folder / "interrupted.ckpt", weights_only=True)["global_step"]


EPOCHS = {}  # validation after each epoch of 4 batches
OFTEN = {"val_check_interval": 2}
EVERY_BATCH = {"val_check_interval": 1}
ACCUMULATED = {"accumulate_grad_batches": 2}
NO_VALIDATION = {"limit_val_batches": 0}
SINGLE_BATCHES = {"limit_train_batches": 1, "limit_val_batches": 0}
COUNTED = {"check_val_every_n_epoch": None, "val_check_interval": 3}


@pytest.mark.parametrize(
    ("settings", "batch", "step"),
    [
        (EPOCHS, 0, 1),
        (EPOCHS, 2, 3),
        (EPOCHS, 3, 4),  # the last batch of an epoch: after its validation
        (EPOCHS, 4, 5),
        (EPOCHS, 11, 12),
        (OFTEN, 1, 2),
        (OFTEN, 2, 3),
        (OFTEN, 3, 4),
        (EVERY_BATCH, 1, 2),
        (ACCUMULATED, 4, 3),
        (ACCUMULATED, 3, 2),
        (NO_VALIDATION, 3, 5),  # the end of an epoch without validation leaves something to do
        (NO_VALIDATION, 11, 12),
        (SINGLE_BATCHES, 1, 2),
        (SINGLE_BATCHES | {"limit_val_batches": 1, "check_val_every_n_epoch": 2}, 0, 2),
        (COUNTED, 2, 3),
        (COUNTED, 3, 5),
    ],
)
def test_a_resumed_run_ends_as_the_uninterrupted_one(images, tmp_path, settings, batch, step):
    whole = state_of(fit(images, **settings))
    code, saved = interrupted(images, tmp_path, Sender(signal.SIGTERM, batch), **settings)
    assert (code, saved) == (143, step)
    resumed = state_of(fit(images, ckpt_path=tmp_path / "interrupted.ckpt", **settings))
    assert {name: value.tolist() for name, value in resumed.items()} == {
        name: value.tolist() for name, value in whole.items()
    }


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_the_exit_code_is_that_of_the_signal(images, tmp_path, number, code, capsys):
    handlers = {each: signal.getsignal(each) for each in CODES}
    assert interrupted(images, tmp_path, Sender(number, batch=1)) == (code, 2)
    file = tmp_path / "interrupted.ckpt"
    assert f'{number.name}: saved {file} after 2 steps; go on with Trainer.fit(..., ckpt_path="{file}")' in (
        capsys.readouterr().out
    )
    assert handlers == {each: signal.getsignal(each) for each in CODES}
    assert signal.set_wakeup_fd(-1) == -1
    assert not [thread for thread in threading.enumerate() if "sslbolts" in thread.name]


def test_a_signal_in_a_validation_waits_for_its_end(images, tmp_path):
    whole = state_of(fit(images))
    assert interrupted(images, tmp_path, Sender(signal.SIGTERM, validation=3)) == (143, 4)
    resumed = state_of(fit(images, ckpt_path=tmp_path / "interrupted.ckpt"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_without_a_signal_nothing_is_left_behind(images, tmp_path):
    handlers = {each: signal.getsignal(each) for each in CODES}
    trained = state_of(fit(images, SaveOnSignal(tmp_path)))
    assert all(torch.equal(value, trained[name]) for name, value in state_of(fit(images)).items())
    assert not list(tmp_path.iterdir())
    assert handlers == {each: signal.getsignal(each) for each in CODES}


def test_it_works_in_another_thread_without_signals(images, tmp_path):
    thread = threading.Thread(target=fit, args=(images, SaveOnSignal(tmp_path)), kwargs={"max_epochs": 1})
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


# ------------------------------------------------------------- other handlers


def _trainer(**environment: Any) -> SimpleNamespace:
    return SimpleNamespace(_accelerator_connector=SimpleNamespace(cluster_environment=SimpleNamespace(**environment)))


def test_slurm_keeps_the_signals_by_which_it_requeues():
    default = dict.fromkeys(CODES, signal.SIG_DFL)
    assert _free_signals(_trainer(), default) == list(CODES)
    requeued = _trainer(auto_requeue=True, requeue_signal=signal.SIGUSR1)
    assert _free_signals(requeued, default) == [signal.SIGINT, signal.SIGHUP]
    assert _free_signals(_trainer(auto_requeue=False, requeue_signal=signal.SIGUSR1), default) == list(CODES)


def test_ignored_signals_and_the_application_s_own_are_left_alone(images, tmp_path):
    seen: list[int] = []
    own = lambda number, frame: seen.append(number)  # noqa: E731
    before = {each: signal.getsignal(each) for each in CODES}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        signal.signal(signal.SIGUSR1, own)
        fit(images, SaveOnSignal(tmp_path), Sender(signal.SIGHUP, 1), Sender(signal.SIGUSR1, 2), max_epochs=1)
        assert seen == [signal.SIGUSR1]
        assert not list(tmp_path.iterdir())
        signal.signal(signal.SIGTERM, own)
        assert interrupted(images, tmp_path, Sender(signal.SIGTERM, 1)) == (143, 2)
        assert seen == [signal.SIGUSR1, signal.SIGTERM]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_before_the_first_step_a_signal_ends_the_run_through_python():
    killed: list[int] = []
    trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(kill=killed.append)))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left, ended_by_signals(trainer):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (left.value.code, killed) == (143, [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_command_to_go_on_has_one_checkpoint_and_no_secrets():
    command = ["sslbolts", "fit", "--ckpt_path", "a.ckpt", "--model=SimCLR", "--ckpt_path=b.ckpt"]
    resumed = SaveOnSignal(command=command).resumed_by("runs/my run/interrupted.ckpt")
    assert resumed == "sslbolts fit --model=SimCLR '--ckpt_path=runs/my run/interrupted.ckpt'"


def test_a_patience_that_is_not_positive_is_refused():
    with pytest.raises(UsageError, match="patience=0"):
        SaveOnSignal(patience=0)


# ------------------------------------------------------- the watch, on a clock


class Ended(Exception):
    """In place of the end of the process."""


def watch(patience: float = 60.0, group: Any = None) -> Watch:
    def end(code: int, reason: str) -> None:
        raise Ended(code, reason)

    return Watch(patience, list(CODES), group, end)


def test_a_second_sigint_ends_at_once_also_while_a_collective_waits():
    watching = watch()
    watching.tick(0.5, bytes([signal.SIGINT]))
    watching.tick(0.5, bytes([signal.SIGTERM]))
    with pytest.raises(Ended, match=r"130, 'a second SIGINT"):
        watching.tick(0.5, bytes([signal.SIGINT]))


def test_a_process_of_a_thousand_open_files_is_watched_too(monkeypatch):
    """``select`` refuses file descriptors from 1024 on."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 1200:
        pytest.skip("this process may not open so many files")
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    failed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    try:
        watching = watch()
        watching.start()
        watching._writer.send(bytes([signal.SIGTERM]))
        deadline = time.monotonic() + 10
        while signal.SIGTERM not in watching._received and time.monotonic() < deadline:
            time.sleep(0.01)
        watching.close(together=False)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert not failed
    assert watching._received == [signal.SIGTERM]


def test_after_a_signal_a_training_that_stands_still_is_ended():
    watching = watch(patience=60)
    for _ in range(1000):
        watching.tick(0.5)  # without a signal it may take its time
    watching.tick(0.5, bytes([signal.SIGTERM]))
    for _ in range(100):
        watching.tick(0.5)
    watching.progress()
    for _ in range(120):
        watching.tick(0.5)
    with pytest.raises(Ended, match="143, 'SIGTERM came, and training has not moved for 60 s: nothing is saved"):
        watching.tick(0.5)


class Work:
    """A collective that is over when the others take part."""

    def __init__(self) -> None:
        self.done = False

    def is_completed(self) -> bool:
        return self.done

    def wait(self) -> None:
        assert self.done


def test_a_rank_without_a_sign_of_life_ends_the_others(monkeypatch):
    works: list[Work] = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda *_, **__: works.append(Work()) or works[-1])
    watching = watch(patience=60, group="all")
    for _ in range(1000):  # the others answer each time
        watching.tick(0.5)
        works[-1].done = True
    for _ in range(121):
        watching.tick(0.5)
    with pytest.raises(Ended, match="1, 'another rank has given no sign of life for 60 s"):
        watching.tick(0.5)
