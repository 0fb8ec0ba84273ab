"""LARC against a loop over single numbers."""

import math

import pytest
import torch

from sslbolts import UsageError
from sslbolts.optim import LARC


def _norm(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values))


def _loop(p: list[float], gradients: list[list[float]], rates: list[float], decay: float) -> list[float]:
    m = [0.0] * len(p)
    for g, lr in zip(gradients, rates):
        d = list(g)
        if _norm(p) > 0 and _norm(g) > 0:
            trust = 0.01 * _norm(p) / (_norm(g) + decay * _norm(p) + 1e-8)
            d = [trust * (gi + decay * pi) for gi, pi in zip(g, p)]
        m = [0.9 * mi + di for mi, di in zip(m, d)]
        p = [pi - lr * mi for pi, mi in zip(p, m)]
    return p


@pytest.mark.parametrize("kind", ["matrix", "bias", "zero bias", "zero gradient"])
def test_every_tensor_is_adapted_but_zeros(kind):
    start = torch.randn(2, 3, dtype=torch.float64) if kind == "matrix" else torch.randn(6, dtype=torch.float64)
    gradients = torch.randn(5, *start.shape, dtype=torch.float64)
    if kind == "zero bias":
        start.zero_()
    if kind == "zero gradient":
        gradients[2:].zero_()
    rates = [0.0, 0.5, 1.0, 0.3, 0.2]
    p = start.clone().requires_grad_()
    optimizer = LARC([p], lr=1.0, weight_decay=0.1, trust_coefficient=0.01)
    for g, lr in zip(gradients, rates):
        p.grad = g.clone()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    expected = _loop(start.flatten().tolist(), gradients.flatten(1).tolist(), rates, 0.1)
    torch.testing.assert_close(p.detach().flatten(), torch.tensor(expected, dtype=torch.float64))


def test_a_parameter_without_gradient_stands_still():
    frozen, moving = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = LARC([frozen, moving], lr=1.0, weight_decay=0.1)
    moving.grad = torch.ones(2)
    optimizer.step()
    assert frozen.tolist() == [1, 1]
    assert moving[0] < 1
    assert frozen not in optimizer.state


def test_wrong_arguments_are_named():
    p = [torch.ones(2, requires_grad=True)]
    for name, value in {"lr": -1, "momentum": 1, "weight_decay": -1, "trust_coefficient": 0}.items():
        with pytest.raises(UsageError, match=name):
            LARC(p, **{"lr": 0.1, name: value})
