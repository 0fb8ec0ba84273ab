"""The way of weight decay and of a teacher's temperature from start to end."""

import math
from functools import partial

import pytest
import torch

from sslbolts import UsageError
from sslbolts._lightning import Callback
from sslbolts.callbacks import TeacherTemperatureSchedule, WeightDecaySchedule
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.methods.toy import Toy


class _Decays(Callback):
    """What the optimizer decays by in every step."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append([group["weight_decay"] for group in optimizer.param_groups])


def _fit(final, **fit):
    decays = _Decays()
    method = Toy(TinyBackbone(), optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.04), warmup_epochs=0)
    trainer = quiet_trainer(max_epochs=2, callbacks=[WeightDecaySchedule(final), decays])
    trainer.fit(method, noise_loader(32, 8), **fit)
    return trainer, decays.seen


def _expected(step, final):
    return final + (0.04 - final) * (1 + math.cos(math.pi * step / 8)) / 2


def test_decay_follows_the_cosine_per_step_and_undecayed_groups_stay_so():
    _, seen = _fit(0.4)
    assert [decay for decay, _ in seen] == pytest.approx([_expected(step, 0.4) for step in range(8)])
    assert [decay for _, decay in seen] == [0.0] * 8


def test_a_resumed_run_goes_on_where_it_was_and_follows_the_new_end(tmp_path):
    half = quiet_trainer(max_epochs=2, limit_train_batches=4, callbacks=[WeightDecaySchedule(0.4)])
    method = Toy(TinyBackbone(), optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.04), warmup_epochs=0)
    half.fit_loop.max_epochs = 1
    half.fit(method, noise_loader(32, 8))
    half.save_checkpoint(tmp_path / "half.ckpt")
    _, seen = _fit(0.2, ckpt_path=str(tmp_path / "half.ckpt"))
    assert [decay for decay, _ in seen] == pytest.approx([_expected(step, 0.2) for step in range(4, 8)])


def test_a_negative_decay_is_refused():
    with pytest.raises(UsageError, match=r"final=-0\.1"):
        WeightDecaySchedule(-0.1)


class _Cooled(Toy):
    """Reads its teacher's temperature in every step."""

    def __init__(self):
        super().__init__(TinyBackbone(), warmup_epochs=0)
        self.teacher_temperature = 0.5
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(self.teacher_temperature)
        return super().training_step(batch, batch_idx)


class _SaveAfterThird(Callback):
    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.path)


def test_a_teachers_temperature_rises_per_epoch_also_in_a_run_that_goes_on_in_the_middle_of_one(tmp_path):
    path = str(tmp_path / "third.ckpt")
    whole, rest = _Cooled(), _Cooled()
    for module, resumed in ((whole, None), (rest, path)):
        schedule = TeacherTemperatureSchedule(0.1, 0.3, epochs=3)
        trainer = quiet_trainer(max_epochs=5, callbacks=[schedule, _SaveAfterThird(path)])
        trainer.fit(module, noise_loader(16, 8), ckpt_path=resumed)
    assert whole.seen == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    assert rest.seen == whole.seen[-len(rest.seen) :]
    assert len(rest.seen) == 7


def test_temperatures_that_cannot_be_and_modules_without_one_are_named():
    for wrong, message in (
        ((0.0, 0.1, 3), r"start=0\.0"),
        ((0.1, -1.0, 3), r"end=-1\.0"),
        ((0.1, 0.2, -1), "epochs=-1"),
    ):
        with pytest.raises(UsageError, match=message):
            TeacherTemperatureSchedule(*wrong[:2], epochs=wrong[2])
    trainer = quiet_trainer(max_steps=1, callbacks=[TeacherTemperatureSchedule(0.1, 0.2, epochs=2)])
    with pytest.raises(UsageError, match="Toy must read its temperature"):
        trainer.fit(Toy(TinyBackbone(), warmup_epochs=0), noise_loader(16, 8))
