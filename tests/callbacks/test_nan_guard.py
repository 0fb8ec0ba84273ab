"""A run that diverges is stopped and named, and leaves its last good checkpoint."""

from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts._lightning import Callback, Trainer, lightning_module
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, NanGuard, OnlineLinearProbe
from sslbolts.errors import DivergedError, UsageError
from tests.callbacks import ranks
from tests.callbacks.host import AdversarialHost, Host, bank_loader, train_loader, trainer, val_loader

ModelCheckpoint = lightning_module("callbacks").ModelCheckpoint


class Diverging(Host):
    """Its loss is multiplied by a factor in some batches of a run of 10 batches per epoch."""

    def __init__(self, batches: range, factor: float = torch.nan) -> None:
        super().__init__()
        self.batches, self.factor, self.batch = batches, factor, 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.batch += 1
        loss = super().training_step(batch, batch_idx)
        self.log("train/plain", loss)
        self.log("train/never_known", torch.tensor(torch.nan))
        loss = loss * self.factor if self.batch in self.batches else loss
        self.log("train/loss", loss)
        return loss


def fit(host: Any, *callbacks: Callback, **settings: Any) -> Trainer:
    run = trainer(*callbacks, **({"max_epochs": 4} | settings))
    run.fit(host, train_loader(), val_loader())
    return run


def steps_of(folder: Path) -> dict[str, int]:
    """The step of each checkpoint in a folder, none of which has a value that is not finite."""
    found = {path.name: torch.load(path, weights_only=True) for path in folder.glob("*.ckpt")}
    for name, content in found.items():
        for key, value in content["state_dict"].items():
            assert value.isfinite().all(), (name, key)
    return {name: content["global_step"] for name, content in found.items()}


@pytest.mark.parametrize("kind", [torch.nan, torch.inf])
def test_step_terms_and_remedies_are_named(kind):
    with pytest.raises(DivergedError) as raised:
        fit(Diverging(range(16, 99), kind), NanGuard())
    said = str(raised.value)
    assert said.startswith(
        "training has diverged: train/loss is NaN or infinite since step 16, and weights are NaN or infinite "
        "(encoder.1.weight and "
    )
    assert "stopped at step 20" in said
    assert "It had written no checkpoint yet." in said
    assert "a lower learning rate (it was 0.05), a longer warm-up, gradient_clip_val=1." in said
    assert "never_known" not in said
    assert isinstance(raised.value, UsageError)


def test_what_was_bad_before_the_loss_is_named_too():
    class Early(Diverging):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("train/norm", loss.detach() * (torch.nan if self.batch >= 13 else 1))
            return loss

    with pytest.raises(
        DivergedError, match=r"train/loss is NaN or infinite since step 16 \(train/norm since step 13 a"
    ):
        fit(Early(range(16, 99)), NanGuard())


def test_precision_and_temperature_are_among_the_remedies():
    host = Diverging(range(3, 99))
    host.temperature = 0.01
    with pytest.raises(
        DivergedError, match=r"precision=32-true \(it is bf16-mixed\), a higher temperature \(it is 0.01"
    ):
        fit(host, NanGuard(every_n_steps=2), precision="bf16-mixed", gradient_clip_val=1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"every_n_train_steps": 1},
        pytest.param(
            {"every_n_train_steps": 5, "save_on_exception": True},
            marks=pytest.mark.skipif(
                "save_on_exception" not in signature(ModelCheckpoint).parameters, reason="this Lightning has none"
            ),
        ),
        {"every_n_train_steps": 1, "save_weights_only": True},
        {"save_weights_only": True},
        {"train_time_interval": timedelta(microseconds=1)},
        {"train_time_interval": timedelta(microseconds=1), "save_weights_only": True},
        {"monitor": "val_loss", "save_top_k": 2},
        {"save_on_train_epoch_end": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_the_last_good_checkpoint_stays(tmp_path, settings):
    """The guard never comes to look by itself here, so each place before a save is tried."""
    checkpoints = ModelCheckpoint(tmp_path, save_last=True, **settings)
    with pytest.raises(DivergedError, match=r"last good checkpoint is \S+\.ckpt\. Try"):
        fit(Diverging(range(16, 99)), NanGuard(every_n_steps=1000), checkpoints, enable_checkpointing=True)
    expected = 15 if {"every_n_train_steps", "train_time_interval"} & set(settings) else 10
    assert steps_of(tmp_path)["last.ckpt"] == expected
    assert max(steps_of(tmp_path).values()) == expected


def test_without_the_guard_the_good_ones_are_gone(tmp_path):
    fit(Diverging(range(16, 99)), ModelCheckpoint(tmp_path, every_n_train_steps=1), enable_checkpointing=True)
    with pytest.raises(AssertionError):
        steps_of(tmp_path)


def test_a_resumed_run_names_the_checkpoint_that_it_went_on_from(tmp_path):
    fit(Host(), max_epochs=1).save_checkpoint(tmp_path / "first.ckpt")
    run = trainer(NanGuard(), max_epochs=4)
    with pytest.raises(DivergedError, match=r"the one it went on from, \S+first.ckpt"):
        run.fit(Diverging(range(3, 99)), train_loader(), val_loader(), ckpt_path=tmp_path / "first.ckpt")


class Skips(Diverging):
    """No gradient of a loss that is not finite arrives, as with a gradient scaler."""

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.batch in self.batches:
            for p in self.parameters():
                p.grad = None


@pytest.mark.parametrize(("batches", "stops"), [(range(12, 16), False), (range(12, 19), True)])
def test_a_loss_alone_stops_the_run_after_a_while(batches, stops):
    guard = NanGuard(every_n_steps=3, patience=5)
    if not stops:
        assert fit(Skips(batches), guard).global_step == 40
        return
    with pytest.raises(
        DivergedError, match=r"diverged: the loss is NaN or infinite since step 12 \(stopped at step 21"
    ):
        fit(Skips(batches), guard)


def test_single_steps_that_the_gradient_scaler_skips_are_nothing():
    precision = lightning_module("plugins.precision").MixedPrecision
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    plugin = precision("16-mixed", "cpu", scaler)
    host = Diverging(range(7, 30, 5), torch.inf)
    run = fit(host, NanGuard(every_n_steps=1, patience=2), plugins=[plugin])
    assert run.global_step == 40
    assert scaler.get_scale() < 8.0  # it has skipped
    assert all(p.isfinite().all() for p in host.parameters())


def test_running_statistics_count_as_weights():
    class Overflows(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if batch_idx == 4:
                self.encoder[2].running_var.fill_(torch.inf)
            return super().training_step(batch, batch_idx)

    with pytest.raises(DivergedError, match=r"diverged: weights are NaN or infinite \(encoder.2.running_var\)"):
        fit(Overflows(), NanGuard())


def test_buffers_and_frozen_parts_of_a_project_do_not_count():
    host = Host()
    host.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    host.lazy = nn.LazyLinear(3)
    host.empty = nn.Parameter(torch.zeros(0))
    host.configure_optimizers = lambda: torch.optim.SGD(host.encoder.parameters(), lr=0.1)
    assert fit(host, NanGuard(every_n_steps=1), max_epochs=1).global_step == 10


def test_a_host_under_manual_optimization():
    class Breaks(AdversarialHost):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            super().training_step(batch, batch_idx)
            self.log("train/judge", self.judge.weight.sum())
            if batch_idx == 4:
                with torch.no_grad():
                    self.judge.weight.fill_(torch.nan)

    with pytest.raises(
        DivergedError, match=r"train/judge is NaN or infinite since step 12, and weights are .*generator"
    ):
        fit(Breaks(), NanGuard(every_n_steps=4))


def test_accumulated_batches_are_counted_as_steps():
    with pytest.raises(DivergedError, match=r"since step 4, and weights .*stopped at step 5\)"):
        fit(Diverging(range(9, 99)), NanGuard(), accumulate_grad_batches=2)


def test_monitors_say_nothing_of_their_own():
    monitors = [OnlineLinearProbe(5, "encoder"), KNNMonitor(k=5, bank=bank_loader()), CollapseMonitor("encoder")]
    with pytest.raises(DivergedError):
        fit(Diverging(range(16, 99)), *monitors, NanGuard())


def test_a_guard_is_used_again():
    guard = NanGuard()
    with pytest.raises(DivergedError):
        fit(Diverging(range(4, 99)), guard)
    assert fit(Host(), guard, max_epochs=1).global_step == 10


def test_a_loss_of_double_precision_may_be_large():
    fit(Diverging(range(3, 99), 1e-300), NanGuard(every_n_steps=1), precision="64-true", max_epochs=1)


@pytest.mark.parametrize("name", ["every_n_steps", "patience"])
def test_arguments_are_whole_numbers_from_1_on(name):
    with pytest.raises(UsageError, match=f"{name}=0"):
        NanGuard(**{name: 0})


@pytest.mark.parametrize("saves", [False, True], ids=["at a look", "at a checkpoint"])
def test_two_ranks_stop_together_where_one_has_a_bad_loss(two_ranks, tmp_path, saves):
    first, second = two_ranks(ranks.diverge, str(tmp_path), saves)
    assert first == second
    message, step = first
    assert "train/loss is NaN or infinite since step 6, and weights are NaN or infinite" in message
    assert step == (6 if saves else 8)
    if saves:
        assert max(steps_of(tmp_path).values()) == 4
