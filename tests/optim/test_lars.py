"""LARS against a loop over single numbers."""

import copy
import math

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.optim import LARS, parameter_groups


def _norm(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values))


def _loop(
    start: list[float],
    gradients: list[list[float]],
    rates: list[float],
    *,
    matrix: bool,
    decay: float,
    inside: bool,
    clip: bool,
) -> list[float]:
    """The formula of LARS, one number at a time, with trust coefficient 0.01 and momentum 0.9."""
    p, m = list(start), [0.0] * len(start)
    for g, lr in zip(gradients, rates):
        d = list(g)
        if matrix:
            d = [gi + decay * pi for gi, pi in zip(g, p)]
            if clip:
                trust = 0.01 * _norm(p) / (_norm(g) + decay * _norm(p) + 1e-8)
                trust = min(trust / lr, 1.0) if lr > 0 else 1.0
            else:
                trust = 0.01 * _norm(p) / _norm(d)
            d = [trust * di for di in d]
        if inside:
            m = [0.9 * mi + lr * di for mi, di in zip(m, d)]
            p = [pi - mi for pi, mi in zip(p, m)]
        else:
            m = [0.9 * mi + di for mi, di in zip(m, d)]
            p = [pi - lr * mi for pi, mi in zip(p, m)]
    return p


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [False, True])
def test_steps_equal_the_loop(inside, decay, clip):
    shapes = {"matrix": (3, 4), "kernel": (2, 3, 2, 2), "vector": (5,), "scalar": ()}
    start = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    gradients = [{name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()} for _ in range(4)]
    rates = [0.0, 0.5, 1.0, 0.001]  # clipped: the first and the last have no adaptation
    params = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = LARS(
        params.values(), lr=1.0, weight_decay=decay, trust_coefficient=0.01, lr_in_momentum=inside, clip=clip
    )
    for gradient, rate in zip(gradients, rates):
        optimizer.param_groups[0]["lr"] = rate
        for name, p in params.items():
            p.grad = gradient[name].clone()
        optimizer.step()
    for name, p in params.items():
        flat = [gradient[name].flatten().tolist() for gradient in gradients]
        values = start[name].flatten().tolist()
        expected = _loop(values, flat, rates, matrix=p.dim() > 1, decay=decay, inside=inside, clip=clip)
        torch.testing.assert_close(
            p.detach().flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
        )


def test_clipped_the_norms_of_gradient_and_decay_are_summed():
    # |p| = 5 and |g| = 5 at a right angle: the norm of g + p would be 50 ** .5, the sum of both norms is 10.
    p = torch.tensor([[3.0, 4.0]], requires_grad=True)
    p.grad = torch.tensor([[-4.0, 3.0]])
    LARS([p], lr=1.0, weight_decay=1.0, trust_coefficient=0.1, clip=True).step()
    torch.testing.assert_close(p.detach(), torch.tensor([[3.05, 3.65]]))  # p - .1 * 5 / 10 * (g + p)


@pytest.mark.parametrize(("weight", "gradient", "expected"), [(0.0, 1.0, -0.5), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_clipped_a_norm_of_zero_falls_back_to_plain_sgd_without_decay(weight, gradient, expected):
    p = torch.full((2, 2), weight, requires_grad=True)
    p.grad = torch.full((2, 2), gradient)
    LARS([p], lr=0.5, weight_decay=0.1, clip=True).step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), expected))


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_norm_of_zero_falls_back_to_plain_sgd(weight, gradient):
    p = torch.full((2, 2), weight, requires_grad=True)
    p.grad = torch.full((2, 2), gradient)
    LARS([p], lr=0.5).step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), weight - 0.5 * gradient))


def test_gradients_are_left_as_they_were():
    layer = nn.Linear(3, 2)
    layer(torch.ones(4, 3)).sum().backward()
    before = [p.grad.clone() for p in layer.parameters()]
    LARS(layer.parameters(), lr=1.0, weight_decay=0.1).step()
    assert all(torch.equal(p.grad, g) for p, g in zip(layer.parameters(), before))


def test_parameters_without_gradient_do_not_move():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    used.grad = torch.ones(2, 2)
    optimizer = LARS([used, unused], lr=1.0)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2))
    assert unused not in optimizer.state


def _train(layer: nn.Linear, optimizer: LARS, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("inside", [False, True])
def test_state_dict_resumes_bitwise(inside):
    torch.manual_seed(3)
    straight = nn.Linear(3, 2)
    stopped = copy.deepcopy(straight)
    settings = {"lr": 0.3, "weight_decay": 0.01, "lr_in_momentum": inside}
    _train(straight, LARS(parameter_groups(straight), **settings), range(6))
    first = LARS(parameter_groups(stopped), **settings)
    _train(stopped, first, range(3))
    resumed = LARS(parameter_groups(stopped), lr=99.0)  # its settings come from the state too
    resumed.load_state_dict(first.state_dict())
    _train(stopped, resumed, range(3, 6))
    assert torch.equal(straight.weight, stopped.weight)
    assert torch.equal(straight.bias, stopped.bias)


def test_closure_is_evaluated_with_gradient_and_its_loss_returned():
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([p], lr=1.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert not torch.equal(p, torch.ones(2, 2))


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1.0}, {"trust_coefficient": 0.0}]
)
def test_values_out_of_range_are_named(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 0.1, **wrong})
