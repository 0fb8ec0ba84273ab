"""Every gradient is clipped by itself; the reference value is in tests/golden."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.optim import clip_each_


def _parameter(gradient):
    parameter = torch.zeros_like(gradient, requires_grad=True)
    parameter.grad = gradient
    return parameter


def test_long_gradients_are_shortened_and_short_ones_are_left_alone():
    long, short, none = _parameter(torch.full((4,), 5.0)), _parameter(torch.tensor([0.1])), torch.zeros(2)
    clip_each_([long, short, none], max_norm=3.0)
    assert long.grad.norm().item() == pytest.approx(3.0, rel=1e-6)
    assert short.grad.item() == pytest.approx(0.1)
    assert none.grad is None


def test_nothing_to_clip_is_no_error():
    clip_each_([torch.zeros(2)], max_norm=1.0)


def test_a_bound_that_is_not_positive_is_refused():
    with pytest.raises(UsageError, match="max_norm=0"):
        clip_each_([], max_norm=0)
