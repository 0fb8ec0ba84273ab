"""SimCLR's objectives, against naive loops, and the arguments that each of them has."""

import pytest
import torch

from sslbolts import SimCLR, UsageError
from tests.golden import naive_losses as naive
from tests.helpers.nets import TinyBackbone


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"temperature": 0.5}, lambda z1, z2: naive.nt_xent(z1, z2, 0.5)),
        ({"objective": "nt_logistic", "temperature": 0.2}, lambda z1, z2: naive.nt_logistic(z1, z2, 0.2)),
        (
            {"objective": "nt_logistic", "semi_hard": True},
            lambda z1, z2: naive.nt_logistic(z1, z2, 0.1, mode="semihard"),
        ),
        ({"objective": "margin_triplet", "margin": 0.8}, lambda z1, z2: naive.margin_triplet_cos(z1, z2, 0.8)),
    ],
)
def test_each_objective_is_the_papers(arguments, expected):
    method = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=8, **arguments)
    z1, z2 = torch.randn(2, 6, 8, dtype=torch.float64)
    found = method.contrast(z1, z2).item()
    assert found == pytest.approx(float(expected(naive.L2(z1), naive.L2(z2))), rel=1e-9)


@pytest.mark.parametrize(
    "arguments", [{"margin": 0.8}, {"objective": "nt_logistic", "margin": 0.8}, {"temperature": 0.5}]
)
def test_an_argument_that_the_objective_does_not_use_is_refused(arguments):
    objective = {"objective": "margin_triplet"} if "temperature" in arguments else {}
    with pytest.raises(UsageError, match=r"has no effect with objective"):
        SimCLR(TinyBackbone(), **objective, **arguments)
