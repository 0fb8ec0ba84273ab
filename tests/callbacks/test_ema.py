"""The moving average that a teacher is, against one written out number by number."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sslbolts import BYOL, UsageError
from sslbolts._lightning import Callback, LightningModule, lightning_module
from sslbolts.callbacks import EMATeacher, WeightDecaySchedule
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer, state_of
from tests.helpers.views import noise_loader
from tests.methods.toy import Toy


def _method(backbone: nn.Module | None = None, **arguments: Any) -> BYOL:
    torch.manual_seed(0)
    chosen = {"hidden_dim": 16, "output_dim": 8, "warmup_epochs": 0, "lr_scaling": "none", **arguments}
    return BYOL(backbone or TinyBackbone(), **chosen)


class _Naive(Callback):
    """The student after every optimizer step, and the average that BYOL's equation makes of it."""

    def __init__(self, base: float, total: int) -> None:
        self.base, self.total = base, total
        self.expected: dict[str, torch.Tensor] = {}
        self.taus: list[float] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.expected = {name: p.double() for name, p in pl_module.teacher.named_parameters()}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == len(self.taus):
            return
        step = len(self.taus)
        tau = 1 - (1 - self.base) * (math.cos(math.pi * step / self.total) + 1) / 2
        self.taus.append(tau)
        for name, average in self.expected.items():
            student = pl_module.get_parameter(name).double()
            self.expected[name] = tau * average + (1 - tau) * student


@pytest.mark.parametrize("accumulate", [1, 2])
def test_teacher_is_the_naive_average_of_the_students_after_each_step(accumulate):
    method = _method(momentum=0.9)
    naive = _Naive(0.9, total=6)
    settings = {"max_steps": 6, "accumulate_grad_batches": accumulate}
    quiet_trainer(callbacks=[naive], **settings).fit(method, noise_loader(48, 4))
    assert len(naive.taus) == 6
    for name, p in method.teacher.named_parameters():
        torch.testing.assert_close(p.double(), naive.expected[name], rtol=1e-5, atol=1e-7)
        assert not torch.equal(p, method.get_parameter(name))


def test_buffers_stay_the_teachers_own():
    """Its running mean is that of the maps that it has seen itself."""
    method = _method(WithBatchNorm(), momentum=0.5, optimizer=lambda params: torch.optim.SGD(params, lr=1.0))
    teacher, seen = method.teacher.backbone.layers[1], []
    teacher.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    expected = teacher.running_mean.clone()
    quiet_trainer(max_steps=3).fit(method, noise_loader(12, 4))
    assert teacher.num_batches_tracked == len(seen) == 6  # two views in each of three steps
    for of_batch in seen:
        expected = 0.9 * expected + 0.1 * of_batch
    torch.testing.assert_close(teacher.running_mean, expected)


def test_constant_momentum_needs_no_end_of_the_run():
    teacher = EMATeacher(0.5, final_momentum=0.5)
    assert {teacher.momentum_at(step=step, total=1) for step in range(5)} == {0.5}


class _Endless(BYOL):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _StopAfterThree(Callback):
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= 3


def test_a_run_without_end_is_refused_unless_the_momentum_is_constant():
    method = _Endless(TinyBackbone(), hidden_dim=16, output_dim=8)
    with pytest.raises(UsageError, match="max_epochs=-1"):
        quiet_trainer(max_epochs=-1).fit(method, noise_loader(8, 4))
    method.configure_callbacks = lambda: [EMATeacher(0.5, final_momentum=0.5)]
    trainer = quiet_trainer(max_epochs=-1, callbacks=[_StopAfterThree()], min_steps=1)
    trainer.fit(method, noise_loader(8, 4))
    assert trainer.global_step >= 3


def test_resumed_teacher_goes_on_with_the_momentum_of_its_step(tmp_path):
    straight = _method(momentum=0.5)
    saver = lightning_module("callbacks").ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=4, filename="four")
    settings = {"max_epochs": 2, "enable_checkpointing": True}
    quiet_trainer(callbacks=[saver], **settings).fit(straight, noise_loader(16, 4))
    resumed = _method(momentum=0.5)
    quiet_trainer(max_epochs=2).fit(resumed, noise_loader(16, 4), ckpt_path=str(tmp_path / "four.ckpt"))
    expected = state_of(straight)
    assert all(torch.equal(value, expected[name]) for name, value in state_of(resumed).items())


def test_a_second_fit_starts_its_momentum_again():
    method = _method(momentum=0.0)
    quiet_trainer(max_steps=4).fit(method, noise_loader(16, 4))
    naive = _Naive(0.0, total=4)
    quiet_trainer(max_steps=4, callbacks=[naive]).fit(method, noise_loader(16, 4))
    for name, p in method.teacher.named_parameters():
        torch.testing.assert_close(p.double(), naive.expected[name], rtol=1e-5, atol=1e-7)


class _Rates(Callback):
    """Learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def test_learning_rate_and_momentum_of_a_run_go_by_one_clock_in_every_fit_of_a_trainer(monkeypatch):
    optimizer = {"optimizer": lambda params: torch.optim.SGD(params, lr=0.4), "warmup_epochs": 1, "momentum": 0.5}
    rates, taus, momentum_at = _Rates(), [], EMATeacher.momentum_at
    monkeypatch.setattr(EMATeacher, "momentum_at", lambda *own, **at: taus.append(momentum_at(*own, **at)) or taus[-1])
    trainer = quiet_trainer(max_epochs=1, callbacks=[rates])
    method = _method(**optimizer)
    trainer.fit(method, noise_loader(16, 4))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(method, noise_loader(16, 4))  # goes on with the run, which is longer now
    trainer.fit_loop.max_epochs = 4
    trainer.fit(_method(**optimizer), noise_loader(16, 4))  # another module: a run of its own

    def expected(step: int, total: int) -> tuple[float, float]:
        rate = 0.4 * (step / 4 if step < 4 else (1 + math.cos(math.pi * (step - 4) / (total - 4))) / 2)
        return rate, 1 - 0.5 * (math.cos(math.pi * step / total) + 1) / 2

    wanted = [expected(step, 8) for step in (4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7)]
    assert rates.seen[4:] == pytest.approx([rate for rate, _ in wanted])
    assert taus[4:] == pytest.approx([tau for _, tau in wanted])


class _Manual(LightningModule):
    """Several optimizers under manual optimization, which step in every ``every``-th batch."""

    def __init__(self, optimizers: int, every: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.student = nn.Linear(4, 2)
        self.average = nn.Linear(4, 2).requires_grad_(False)
        self.count, self.every = optimizers, every
        self.decays: list[float] = []

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.student, self.average)]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizers = self.optimizers()
        if (batch_idx + 1) % self.every == 0:
            self.decays.append(self.trainer.optimizers[0].param_groups[0]["weight_decay"])
            for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.student.parameters(), lr=0.0, weight_decay=0.04) for _ in range(self.count)]


@pytest.mark.parametrize(
    ("optimizers", "every", "settings", "steps"),
    [
        (1, 1, {"max_epochs": 2}, 8),
        (2, 1, {"max_epochs": 2}, 8),
        (1, 2, {"max_epochs": 2}, 4),
        (3, 4, {"max_epochs": 2}, 2),
        (2, 1, {"max_epochs": -1, "max_steps": 8}, 4),  # Lightning counts the steps of both
        (2, 1, {"max_epochs": 2, "max_steps": 8}, 4),
    ],
)
def test_schedules_reach_their_end_with_any_number_of_optimizers_and_steps(optimizers, every, settings, steps):
    module = _Manual(optimizers, every)
    apart = [float((module.average.weight - module.student.weight).norm())]

    class Apart(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            apart.append(float((module.average.weight - module.student.weight).norm()))

    callbacks = [EMATeacher(0.5), WeightDecaySchedule(0.4), Apart()]
    quiet_trainer(callbacks=callbacks, **settings).fit(module, DataLoader(torch.randn(4, 4)))
    progress = [(1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    taus = [after / before for before, after in itertools.pairwise(apart) if after != before]
    assert taus == pytest.approx([1 - 0.5 * cosine for cosine in progress], rel=1e-4)
    assert module.decays == pytest.approx([0.4 - 0.36 * cosine for cosine in progress])


def test_what_one_module_brings_stays_off_the_run_of_the_next():
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(_method(), noise_loader(8, 4))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Toy(TinyBackbone(), lr_scaling="none", warmup_epochs=0), noise_loader(8, 4))  # has no teacher
    assert trainer.current_epoch == 2


class _Foreign(LightningModule):
    """Somebody's own module, which only names its pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(4, 2)
        self.average = copy.deepcopy(self.student).requires_grad_(False)

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.student, self.average)]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.student(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.student.parameters(), lr=0.1)


def test_any_module_that_names_pairs_can_use_it():
    module = _Foreign()
    quiet_trainer(max_steps=2, callbacks=[EMATeacher(0.0, final_momentum=0.0)]).fit(module, _numbers())
    assert torch.equal(module.average.weight, module.student.weight)


def test_a_module_without_pairs_is_refused():
    module = _Foreign()
    module.ema_pairs = list
    with pytest.raises(UsageError, match=r"_Foreign.ema_pairs\(\)"):
        quiet_trainer(max_steps=2, callbacks=[EMATeacher()]).fit(module, _numbers())


def test_a_half_precision_teacher_is_refused():
    # bfloat16 has 8 bits: an average that moves by 0.4 % per step would be rounded back, and never move.
    with pytest.raises(UsageError, match="bf16-mixed"):
        quiet_trainer(max_steps=2, precision="bf16-true").fit(_method(), noise_loader(8, 4))


def _numbers() -> DataLoader[torch.Tensor]:
    return DataLoader(torch.randn(8, 4), batch_size=4)


@pytest.mark.parametrize("wrong", [{"momentum": 1.1}, {"momentum": -0.1}, {"final_momentum": 2.0}])
def test_momentum_outside_its_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        EMATeacher(**wrong)
