"""SimCLR's objective as an argument."""

import pytest
import torch

from sslbolts import SimCLR, UsageError
from sslbolts.losses import margin_triplet, nt_logistic, nt_xent
from tests.helpers.nets import TinyBackbone


@pytest.mark.parametrize(
    ("arguments", "loss"),
    [
        ({"temperature": 0.5}, lambda a, b: nt_xent(a, b, 0.5)),
        ({"temperature": 0.5, "semi_hard": True}, lambda a, b: nt_xent(a, b, 0.5, semi_hard=True)),
        ({"objective": "nt_logistic", "temperature": 0.2}, lambda a, b: nt_logistic(a, b, 0.2)),
        (
            {"objective": "nt_logistic", "semi_hard": True},
            lambda a, b: nt_logistic(a, b, 0.1, negatives="semi_hard"),
        ),
        ({"objective": "margin_triplet", "margin": 0.8}, lambda a, b: margin_triplet(a, b, 0.8)),
        (
            {"objective": "margin_triplet", "semi_hard": True},
            lambda a, b: margin_triplet(a, b, 0.5, negatives="semi_hard"),
        ),
    ],
)
def test_the_objective_is_the_loss_of_that_name(arguments, loss):
    method = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=8, **arguments)
    z1, z2 = torch.randn(2, 6, 8)
    assert torch.equal(method.contrast(z1, z2), loss(z1, z2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"objective": "triplet"}, "nt_xent, nt_logistic, margin_triplet"),
        ({"objective": "margin_triplet", "temperature": 0.5}, "temperature=0.5 has no effect"),
        ({"margin": 0.4}, "margin=0.4 has no effect"),
        ({"temperature": 0.0}, "positive"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(UsageError, match=words):
        SimCLR(TinyBackbone(), **arguments)
