"""The look before the start: its table, what it refuses, what it warns of."""

from argparse import Namespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR
from torch.utils.data import DataLoader, Dataset

from sslbolts._lightning import Callback, LightningDataModule, lightning_module
from sslbolts.callbacks import KNNMonitor, OnlineLinearProbe, Preflight
from sslbolts.callbacks.shared.pace import Pace
from sslbolts.errors import UsageError
from sslbolts.optim import WarmupCosine
from tests.callbacks.host import Host, bank_loader, train_loader, trainer, val_loader


class Scheduled(Host):
    """Warms up for ``warmup`` steps to 0.05."""

    def __init__(self, warmup: int = 5) -> None:
        super().__init__()
        self.warmup = warmup
        self.classifier.bias.requires_grad_(False)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = WarmupCosine(optimizer, total=1000, warmup=self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def facts(host: Any, **settings: Any) -> dict[str, str]:
    preflight = Preflight()
    trainer(preflight, **settings).fit(host, train_loader(), val_loader())
    return preflight.facts


def test_the_table_says_what_the_run_will_be(capsys):
    found = facts(Scheduled(), accumulate_grad_batches=2, max_epochs=3)
    expected = {
        "batch per device": "16",
        "devices": "1 x cpu",
        "accumulated batches": "2",
        "effective batch": "32",
        "training images": "160",
        "optimizer steps": "15",
        "peak learning rate": "0.05",
        "warm-up steps": "5",
        "precision": "32-true",
        "trainable parameters": "1,792",
        "frozen parameters": "5",
    }
    assert found == expected
    shown = capsys.readouterr().out
    assert all(name in shown and value in shown for name, value in expected.items())


def test_other_schedules_and_runs_without_end():
    class OneCycle(Host):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            return [optimizer], [{"scheduler": OneCycleLR(optimizer, 0.7, total_steps=50), "interval": "step"}]

    found = facts(OneCycle())
    assert (found["peak learning rate"], found["warm-up steps"]) == ("0.7", "unknown")
    found = facts(Host(), max_epochs=-1, max_time={"seconds": 1})
    assert (found["optimizer steps"], found["peak learning rate"], found["warm-up steps"]) == ("no end", "0.05", "0")


class _Untold(Dataset):
    """Says nothing of its length, and has no learning rate anywhere."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        return train_loader().dataset[index]


class _NoRate(torch.optim.SGD):
    """Without a learning rate, as optimizers that find their own."""

    def __init__(self, *args: Any, given: bool) -> None:
        super().__init__(*args, lr=0.0)
        for group in self.param_groups:
            group.update(lr=None) if given else group.pop("lr")

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        closure()


class Watched(Host):
    """Notes when it is asked for what."""

    def __init__(self, given: bool | None = None) -> None:
        super().__init__()
        self.asked, self.given = [], given
        self.lazy = nn.LazyLinear(3)

    def on_fit_start(self) -> None:
        self.asked.append("fit starts")

    def train_dataloader(self) -> Any:
        self.asked.append("loader")
        return DataLoader(_Untold(), batch_sampler=[[0, 1], [2, 3]])

    def configure_optimizers(self) -> Any:
        if self.given is not None:
            return _NoRate(self.encoder.parameters(), given=self.given)
        optimizer = torch.optim.SGD(self.encoder.parameters(), lr=0.2)
        schedule = LambdaLR(optimizer, lambda step: self.asked.append(step) or 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@pytest.mark.parametrize(
    ("given", "peak", "warmup"), [(None, "0.2", "unknown"), *[(g, "unknown", "unknown") for g in (0, 1)]]
)
def test_it_only_looks_and_takes_what_is_not_there_as_unknown(given, peak, warmup):
    asked = []
    for callbacks in ([], [preflight := Preflight()]):
        host = Watched(given)
        trainer(*callbacks, max_epochs=1).fit(host)
        asked.append(host.asked)
    assert asked[1] == asked[0]
    assert asked[0].index("fit starts") < asked[0].index("loader")
    found = preflight.facts
    assert (found["training images"], found["peak learning rate"], found["warm-up steps"]) == ("unknown", peak, warmup)


def test_a_training_loader_without_a_batch_is_refused():
    with pytest.raises(UsageError, match="160 images, and a batch on each of 1 devices takes 500"):
        trainer(Preflight()).fit(Host(), train_loader(batch_size=500, drop_last=True))


class Data(LightningDataModule):
    def train_dataloader(self) -> Any:
        return train_loader()

    def val_dataloader(self) -> Any:
        return val_loader()


class Unlabeled(Data):
    @property
    def num_classes(self) -> int:
        raise UsageError("Unlabeled has no labels.")


class TenClasses(Data):
    num_classes = 10


@pytest.mark.parametrize(
    ("callback", "data", "message"),
    [
        (OnlineLinearProbe(5, "encoder"), Unlabeled, "OnlineLinearProbe needs labels, but Unlabeled has no labels"),
        (
            OnlineLinearProbe(5, "encoder"),
            TenClasses,
            "num_classes=5, but TenClasses has 10 classes: give num_classes=10",
        ),
    ],
)
def test_monitors_that_need_other_labels_are_refused(callback, data, message):
    with pytest.raises(UsageError, match=message):
        trainer(callback, Preflight()).fit(Host(), datamodule=data())


def test_a_bank_of_ones_own_needs_no_labels_of_the_datamodule():
    trainer(KNNMonitor(k=5, bank=bank_loader()), Preflight(), max_epochs=1).fit(Host(), datamodule=Unlabeled())


class Taught(Host):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(2, 2)

    def ema_pairs(self) -> Any:
        return [(nn.Linear(2, 2), self.teacher)]


class Queued(Host):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(4))


@pytest.mark.parametrize(
    ("host", "settings", "message"),
    [
        (lambda: Scheduled(1000), {}, "the learning rate rises for all of the 20 steps"),
        (Taught, {"precision": "bf16-true"}, "precision=bf16-true with a teacher.* Use bf16-mixed"),
        (Host, {"accumulate_grad_batches": 20}, "160 images, fewer than the effective batch of 320"),
    ],
)
def test_what_will_not_work_out_is_warned_of(host, settings, message):
    with pytest.warns(UserWarning, match=message):
        trainer(Preflight(), **settings).fit(host(), train_loader())


class Apart(Host):
    own_statistics_from = 16


@pytest.mark.parametrize(("host", "batch_size", "advised"), [(Host, 16, True), (Apart, 8, True), (Apart, 16, False)])
def test_batch_norms_that_several_gpus_do_not_share(monkeypatch, recwarn, host, batch_size, advised):
    monkeypatch.setattr("sslbolts.callbacks.preflight._gpus", lambda trainer: 8)
    trainer(Preflight(), max_epochs=1).fit(host(), train_loader(batch_size=batch_size))
    told = [str(w.message) for w in recwarn if "sync_batchnorm" in str(w.message)]
    assert (
        told
        == [
            f"1 batch norms see {batch_size} images each on 8 GPUs, and the ranks' statistics differ: use "
            "Trainer(sync_batchnorm=True)."
        ]
        * advised
    )


@pytest.mark.parametrize(("host", "what"), [(Taught, "a teacher"), (Queued, "the buffer queue")])
def test_weight_averaging_beside_a_teacher_or_a_queue(host, what):
    averaging = getattr(lightning_module("callbacks"), "EMAWeightAveraging", None)
    if averaging is None:
        pytest.skip("this Lightning has no WeightAveraging")
    with pytest.warns(UserWarning, match=f"Taught has {what}|Queued has {what}"):
        trainer(averaging(), Preflight(), max_epochs=1).fit(host(), train_loader())


def test_stochastic_weight_averaging_beside_a_teacher():
    averaging = lightning_module("callbacks").StochasticWeightAveraging(swa_lrs=0.1)
    with pytest.warns(UserWarning, match="StochasticWeightAveraging averages all parameters, and Taught has a teacher"):
        trainer(averaging, Preflight(), max_epochs=2).fit(Taught(), train_loader())


def test_a_monitor_that_never_runs():
    with pytest.warns(UserWarning, match="KNNMonitor measures at validation, but there is none"):
        trainer(KNNMonitor(k=5, bank=bank_loader()), Preflight(), max_epochs=1).fit(Host(), train_loader())


def test_a_sound_run_has_no_warning(recwarn):
    facts(Host())
    assert not [w for w in recwarn if "sslbolts" in str(w.filename) or "Preflight" in str(w.message)]


class Ticking:
    """A clock that another part of the program moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(Callback):
    """Moves a clock on by what each batch, waiting for the next, and validation take."""

    def __init__(self, clock: Ticking, *, batch: float, waiting: float, validation: float = 0.0) -> None:
        self.clock, self.batch, self.waiting, self.validation = clock, batch, waiting, validation

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.clock.now += self.batch if trainer.global_step > 1 else 100.0  # the first two take their time

    def on_train_batch_end(self, *args: Any) -> None:
        self.clock.now += self.waiting

    def on_validation_epoch_start(self, *args: Any) -> None:
        self.clock.now += self.validation


def speed(monkeypatch: Any, *, batch: float, waiting: float, validation: float = 0.0, **settings: Any) -> str:
    clock = Ticking()
    monkeypatch.setattr(Preflight, "clock", staticmethod(clock))
    preflight = Preflight()
    timed = Timed(clock, batch=batch, waiting=waiting, validation=validation)
    with_validation = (val_loader(),) if validation else ()
    trainer(preflight, timed, **settings).fit(Host(), train_loader(), *with_validation)
    return preflight.speed


def test_the_speed_is_told_after_a_short_epoch_and_once(monkeypatch, capsys):
    line = speed(monkeypatch, batch=3.0, waiting=1.0, max_epochs=3)
    # 160 images in 10 batches of 16, each of 4 seconds.
    assert line == (
        "40 s an epoch and 2 min 0 s for the run, without validation: 4 images a second, limited by the network, with "
        "25 % of the time spent waiting for batches (measured on batches 3 to 10)."
    )
    assert capsys.readouterr().out.count("images a second") == 1


def test_a_loader_that_is_waited_for_is_named_and_validation_does_not_count(monkeypatch):
    settings = {"max_epochs": 1, "val_check_interval": 3}
    line = speed(monkeypatch, batch=1.0, waiting=3.0, validation=1000.0, **settings)
    assert line.startswith("40 s an epoch and 40 s for the run")
    assert "limited by the loader, with 75 % of the time" in line


def test_a_resumed_run_tells_what_is_left(monkeypatch, tmp_path):
    first = trainer(max_steps=4, max_epochs=-1)
    first.fit(Host(), train_loader())
    first.save_checkpoint(tmp_path / "a.ckpt")
    clock = Ticking()
    monkeypatch.setattr(Preflight, "clock", staticmethod(clock))
    preflight = Preflight()
    resumed = trainer(preflight, Timed(clock, batch=1.0, waiting=0.0), max_epochs=2)
    resumed.fit(Host(), train_loader(), ckpt_path=tmp_path / "a.ckpt")
    assert preflight.speed.startswith("10 s an epoch and 16 s for the rest of the run")


def test_a_single_batch_and_a_loader_without_length(monkeypatch):
    line = speed(monkeypatch, batch=0.0, waiting=0.0, max_steps=1, limit_train_batches=1, max_epochs=-1)
    assert line.endswith("and one batch does not tell what limits it (measured on batch 1 alone).")
    pace = Pace(Ticking())
    pace.begin()
    pace.end()
    words = pace.words(images_per_batch=None, batches_per_epoch=float("inf"), batches_left=float("inf"), resumed=False)
    assert words.startswith("1e-06 s a batch, without validation: and one batch")


def test_after_twenty_batches_nothing_more_is_measured(monkeypatch):
    clock = Ticking()
    preflight = Preflight()
    monkeypatch.setattr(Preflight, "clock", staticmethod(clock))
    run = Namespace(
        fast_dev_run=False, is_last_batch=False, num_training_batches=100, max_epochs=10, max_steps=-1, world_size=2
    )
    run.fit_loop = Namespace(epoch_loop=Namespace(batch_progress=Namespace(total=Namespace(ready=20))))
    monkeypatch.setattr("sslbolts.callbacks.preflight.per_device_batch_size", lambda run: 8)
    preflight._pace = Pace(clock)
    told: list[str] = []
    for number in range(25):
        preflight.on_train_batch_start(run, None, None, number)
        clock.now += 0.5
        preflight.on_train_batch_end(run, Namespace(print=told.append), None, None, number)
    assert told == [
        "50 s an epoch and 8 min 20 s for the run, without validation: 32 images a second, limited by the network, "
        "with 0 % of the time spent waiting for batches (measured on batches 3 to 20)."
    ]
