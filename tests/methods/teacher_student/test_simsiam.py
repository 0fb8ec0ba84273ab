"""The particulars of SimSiam."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbolts import SimSiam, UsageError
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def _method(backbone=None, **arguments):
    return SimSiam(backbone or TinyBackbone(), **{"hidden_dim": 16, "output_dim": 16, "predictor_dim": 8, **arguments})


class _LearningRates(Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


@pytest.mark.parametrize("fixed", [True, False])
def test_the_predictors_learning_rate_is_constant_and_the_others_falls_from_the_first_step(fixed):
    rates = _LearningRates()
    optimizer = partial(torch.optim.SGD, lr=0.64)
    method = _method(optimizer=optimizer, fix_predictor_lr=fixed)
    quiet_trainer(max_epochs=1, callbacks=[rates]).fit(method, noise_loader(32, 8))
    halfway = 0.02 * (1 + 2**-0.5) / 2  # a quarter of the way, at batch 8: .64 * 8/256 = .02
    network, predictor = zip(*rates.rates)
    assert network[:3] == pytest.approx([0.02, halfway, 0.01])
    assert predictor[:3] == pytest.approx([0.02] * 3 if fixed else network[:3])


def test_every_trainable_parameter_is_decayed():
    method = _method()
    groups = method.parameter_groups()
    assert all("weight_decay" not in group for group in groups)
    grouped = [p for group in groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped})
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}


def test_the_frozen_bias_has_no_effect_on_the_embeddings():
    projector = _method().projector
    features = torch.randn(8, 16)
    before = projector(features)
    projector[-2].bias.data.add_(torch.randn(16))
    assert not projector[-2].bias.requires_grad
    torch.testing.assert_close(projector(features), before, rtol=1e-4, atol=1e-5)


def test_loss_is_the_mean_of_both_directions_and_targets_get_no_gradient():
    method = _method().double().eval()
    x1, x2 = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    method.log = lambda *_, **__: None
    loss = method.training_step(ViewBatch([x1, x2], torch.zeros(4), torch.arange(4)), 0)
    loss.backward()
    gradient = method.projector[0].weight.grad.clone()
    method.zero_grad()
    z1, z2 = (method.projector(method.backbone(x)) for x in (x1, x2))
    p1, p2 = method.predictor(z1), method.predictor(z2)
    expected = -0.5 * sum(
        (F.normalize(p) * F.normalize(torch.tensor(z.tolist(), dtype=torch.float64))).sum(1).mean()
        for p, z in ((p1, z2), (p2, z1))
    )
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, method.projector[0].weight.grad, rtol=1e-10, atol=1e-12)


def test_spread_is_one_for_random_embeddings_and_nearly_zero_for_equal_ones():
    method, logged = _method(), {}
    method.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    method.projector = nn.Identity()
    method.predictor = nn.Identity()
    method.backbone = nn.Identity()
    for embeddings, low, high in ((torch.randn(64, 256), 0.9, 1.1), (torch.ones(64, 256), 0, 0.01)):
        method.training_step(ViewBatch([embeddings, embeddings], None, None), 0)
        assert low <= logged["train/spread"] <= high


def test_a_projector_without_layers_is_refused():
    with pytest.raises(UsageError, match="projector_layers=0"):
        _method(projector_layers=0)
