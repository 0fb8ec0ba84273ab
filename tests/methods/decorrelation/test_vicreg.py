"""What VICReg adds to its loss."""

import pytest
import torch

from sslbolts import UsageError, VICReg
from sslbolts.losses.decorrelation import vicreg_terms
from tests.golden import naive_losses as naive
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def _method(**arguments):
    return VICReg(TinyBackbone(), **{"hidden_dim": 16, "output_dim": 8, "warmup_epochs": 0, **arguments})


def _first_values(method):
    trainer = quiet_trainer(max_steps=1)
    batch = next(iter(noise_loader(8, 8)))
    z1, z2 = (method.projector.train()(method.backbone(x)).detach() for x in batch.views)
    trainer.fit(method, noise_loader(8, 8))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}, z1, z2


@pytest.mark.parametrize("scaling", ["code", "listing", "equation"])
def test_terms_weights_and_scaling_reach_the_loss(scaling):
    weights = {"invariance": 3.0, "variance": 5.0, "covariance": 7.0}
    values, z1, z2 = _first_values(_method(scaling=scaling, **weights))
    variant = {"code": "official", "listing": "algorithm1", "equation": "eq"}[scaling]
    expected = naive.vicreg(naive.L2(z1.double()), naive.L2(z2.double()), 3.0, 5.0, 7.0, 1e-4, variant)
    assert values["train/loss"] == pytest.approx(float(expected), rel=1e-4)
    assert values["train/std"] == pytest.approx(z1.std(0).mean().item(), rel=1e-4)


def test_dimensions_without_variance_are_noticed_though_one_varies_much():
    values, *_ = _first_values(_method())
    std, variance = _method().indicators
    assert not variance.is_bad(values[variance.metric])
    z = torch.zeros(64, 20)
    z[:, 0] = torch.arange(64.0)  # its standard deviation is 18.6, so that their mean is 0.93
    assert not std.is_bad(z.std(0).mean().item())
    assert variance.is_bad(vicreg_terms(z, z).variance.item())


def test_wrong_arguments_are_named():
    for arguments, words in (
        ({"variance": -1}, "variance=-1: it must be at least 0"),
        ({"covariance": float("nan")}, "covariance=nan: it must be finite"),
        ({"scaling": "paper"}, "one of code, listing, equation"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
    ):
        with pytest.raises(UsageError, match=words):
            _method(**arguments)


def test_the_scaling_is_stored():
    assert torch.equal(torch.tensor(_method(scaling="listing").weights), torch.tensor((25.0, 25.0, 1.0)))
    assert _method(scaling="listing").hparams["scaling"] == "listing"
