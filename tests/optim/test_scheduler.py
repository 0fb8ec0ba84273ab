"""The schedule in a run that is resumed."""

import copy

import pytest
import torch

from sslbolts.optim import LARS, WarmupCosine, warmup_cosine


def _run(lr: float, steps: int, state: dict | None = None, decay: float = 0.1):
    """A parameter, its optimizer and schedule after some steps of a run of 10, from a checkpoint if there is one."""
    parameter = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimizer = LARS([parameter], lr=lr, weight_decay=decay)
    schedule = WarmupCosine(optimizer, total=10, warmup=2)
    if state is not None:
        parameter.data.copy_(state["parameter"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    for _ in range(steps):
        parameter.grad = torch.full_like(parameter, 0.3)
        optimizer.step()
        schedule.step()
    return parameter, optimizer, schedule


def _checkpoint(parameter, optimizer, schedule) -> dict:
    state = {"parameter": parameter.detach(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    return copy.deepcopy(state)


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_resumed_run_is_the_uninterrupted_one_bitwise(cut):
    straight, *_ = _run(0.5, 10)
    resumed, *_ = _run(0.5, 10 - cut, _checkpoint(*_run(0.5, cut)))
    assert torch.equal(straight, resumed)


def test_a_resumed_run_takes_its_own_learning_rate_and_decay():
    state = _checkpoint(*_run(0.5, 4))
    _, optimizer, schedule = _run(2.0, 0, state, decay=0.3)
    (group,) = optimizer.param_groups
    expected = 2.0 * warmup_cosine(4, total=10, warmup=2)
    assert (group["lr"], group["weight_decay"]) == (pytest.approx(expected), 0.3)
    assert schedule.get_last_lr() == pytest.approx([expected])
    _, optimizer, _ = _run(2.0, 1, state, decay=0.3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2.0 * warmup_cosine(5, total=10, warmup=2))


def test_momentum_comes_from_the_checkpoint():
    before = _run(0.5, 4)
    _, optimizer, _ = _run(2.0, 0, _checkpoint(*before))
    stored = before[1].state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(optimizer.state_dict()["state"][0]["momentum_buffer"], stored)
