"""The weight decay's way from start to end."""

import math
from functools import partial

import pytest
import torch

from sslbolts import UsageError
from sslbolts._lightning import Callback
from sslbolts.callbacks import WeightDecaySchedule
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
