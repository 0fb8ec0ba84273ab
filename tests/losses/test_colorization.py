"""Weights of colors, and the loss of a constant guess."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.losses import colorization
from sslbolts.losses.colorization import constant_guess, pixel_weights, rebalancing_weights

PRIOR = torch.tensor([0.7, 0.2, 0.1, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_weights_are_those_of_the_formula_and_average_to_one(lam):
    mixed = [(1 - lam) * p + lam / 3 for p in (0.7, 0.2, 0.1)]
    scale = sum(p / m for p, m in zip((0.7, 0.2, 0.1), mixed))
    expected = torch.tensor([1 / m / scale for m in mixed] + [0.0], dtype=torch.float64)
    weights = rebalancing_weights(PRIOR, lam)
    torch.testing.assert_close(weights, expected)
    assert (PRIOR * weights).sum().item() == pytest.approx(1)


def test_without_a_prior_all_colors_count_alike():
    assert rebalancing_weights(torch.zeros(4)).tolist() == [1.0] * 4


def test_no_other_guess_is_better_than_the_constant_one():
    generator = torch.Generator().manual_seed(0)
    codes = torch.rand(20, 4, generator=generator, dtype=torch.float64).softmax(1)
    weights = pixel_weights(codes, torch.tensor([0.5, 1.0, 2.0, 0.0], dtype=torch.float64))
    least = constant_guess(codes, weights)
    for _ in range(20):
        guess = torch.randn(1, 4, generator=generator, dtype=torch.float64).expand(20, 4)
        assert colorization(guess, codes, weights) > least
    best = (weights[:, None] * codes).sum(0).log().expand(20, 4)
    torch.testing.assert_close(colorization(best, codes, weights), least)


def test_pixels_without_weight_have_no_gradient_and_stay_in_the_mean():
    logits = torch.randn(4, 5, requires_grad=True)
    codes = torch.rand(4, 5).softmax(1)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0])
    loss = colorization(logits, codes, weights)
    loss.backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, True, False]
    alone = colorization(logits[::2], codes[::2], weights[::2])
    torch.testing.assert_close(loss, alone / 2)


def test_other_shapes_are_refused():
    with pytest.raises(UsageError, match=r"\(4, 5\)"):
        colorization(torch.zeros(4, 5), torch.zeros(4, 6), torch.zeros(4))
