"""Schedules against their formulas, written out."""

import math

import pytest

from sslbolts import UsageError
from sslbolts.optim import cosine, warmup_cosine, warmup_steps


def test_cosine_starts_halves_and_ends():
    assert cosine(0, total=10, start=0.2, end=1.0) == pytest.approx(0.2)
    assert cosine(5, total=10, start=0.2, end=1.0) == pytest.approx(0.6)
    assert cosine(10, total=10, start=0.2, end=1.0) == 1.0


def test_cosine_stays_at_its_end():
    assert cosine(25, total=10, start=0.2, end=0.7) == 0.7


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_warmup_is_linear_and_the_rest_half_a_cosine(floor):
    total, warmup = 50, 7
    for step in range(total + 1):
        if step < warmup:
            expected = step / warmup
        else:
            q = (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
            expected = q + floor * (1 - q)
        assert warmup_cosine(step, total=total, warmup=warmup, floor=floor) == pytest.approx(expected, abs=1e-12)


def test_without_warmup_the_first_step_is_at_the_peak():
    assert warmup_cosine(0, total=10) == 1.0


def test_warmup_longer_than_the_run_only_rises():
    assert [warmup_cosine(step, total=3, warmup=4) for step in range(4)] == [0, 0.25, 0.5, 0.75]
    assert warmup_cosine(5, total=3, warmup=4) == 0.0


def test_a_run_without_steps_is_refused():
    with pytest.raises(UsageError, match="total=0"):
        cosine(0, total=0, start=0.0, end=1.0)


def test_steps_fall_at_the_milestones_after_a_linear_rise():
    # MoCo: 200 epochs of 5 steps, divided by 10 at epochs 120 and 160.
    rates = [warmup_steps(step, total=1000, warmup=10, milestones=(0.6, 0.8)) for step in range(1000)]
    assert rates[:11] == pytest.approx([step / 10 for step in range(11)])
    assert set(rates[10:600]) == {1.0}
    assert rates[600:800] == pytest.approx([0.1] * 200)
    assert rates[800:] == pytest.approx([0.01] * 200)
