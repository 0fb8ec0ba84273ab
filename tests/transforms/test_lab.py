"""Lab of whole batches, and the 313 bins of its colors."""

import math

import pytest
import torch

from sslbolts.transforms.lab import (
    NUM_COLORS,
    ab_bins,
    annealed_mean,
    lab_to_rgb,
    nearest_bins,
    rgb_to_lab,
    soft_codes,
)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # CIE Lab of sRGB's corners under D65, from tables
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((1, 1, 0), (97.14, -21.55, 94.48)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (100, 0, 0)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
    ],
)
def test_colors_have_the_values_of_tables(rgb, lab):
    images = torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    expected = torch.tensor(lab, dtype=torch.float32).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    torch.testing.assert_close(rgb_to_lab(images), expected, rtol=0, atol=0.02)


def test_there_and_back_is_the_image():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    images[0, :, 0] = 0.0
    images[0, :, 1] = 1.0
    images[0, :, 2] = 0.02  # the linear part of both curves
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(images)), images, rtol=0, atol=2e-6)


def test_colors_beyond_srgb_are_cut_off():
    lab = torch.tensor([[60.0, 120.0, -120.0], [60.0, -120.0, 120.0], [2.0, 0.0, 90.0]]).view(3, 3, 1, 1)
    images = lab_to_rgb(lab)
    assert images.isfinite().all()
    assert images.min() == 0
    assert images.max() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_cost_no_digits(dtype):
    images = torch.rand(2, 3, 4, 4).to(dtype)
    expected = rgb_to_lab(images.double()).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rgb_to_lab(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_the_bins_are_a_grid_of_the_colors_that_srgb_has():
    bins = ab_bins()
    assert NUM_COLORS == len(bins) == len(bins.unique(dim=0)) == 313
    assert (bins % 10 == 0).all()
    assert torch.equal(bins[:5], torch.tensor([[-90.0, 50], [-90, 60], [-90, 70], [-90, 80], [-90, 90]]))
    assert torch.equal(bins[-1], torch.tensor([100.0, 0]))
    every = torch.cartesian_prod(*[torch.linspace(0, 1, 17)] * 3)[:, :, None, None]
    away = (rgb_to_lab(every)[:, 1:, 0, 0, None] - bins.t()[None]).norm(dim=1).amin(1)
    assert away.max() < 15  # every color has a bin nearby


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_codes_are_those_of_a_loop(neighbors):
    generator = torch.Generator().manual_seed(neighbors)
    colors = (torch.rand(7, 2, generator=generator, dtype=torch.float64) - 0.5) * 160
    bins = ab_bins(dtype=torch.float64).tolist()
    expected = torch.zeros(7, 313, dtype=torch.float64)
    for row, (a, b) in enumerate(colors.tolist()):
        by_distance = sorted((math.dist((a, b), center), place) for place, center in enumerate(bins))[:neighbors]
        shares = [math.exp(-(distance**2) / 50) for distance, _ in by_distance]
        for (_, place), share in zip(by_distance, shares):
            expected[row, place] = share / sum(shares)
    torch.testing.assert_close(soft_codes(colors, neighbors=neighbors), expected, rtol=1e-11, atol=1e-12)
    assert torch.equal(nearest_bins(colors), expected.argmax(1))


def test_a_color_far_from_all_bins_has_a_code_too():
    code = soft_codes(torch.tensor([[500.0, 500.0]]))  # every weight would be 0 in float32
    assert code.sum().item() == pytest.approx(1)


def test_the_annealed_mean_goes_from_the_mean_to_the_mode():
    logits = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
    bins = torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 60.0]], dtype=torch.float64)
    weights = [math.exp(value) / (math.exp(2) + math.exp(1) + 1) for value in (2, 1, 0)]
    mean = torch.tensor([[30 * weights[1], 60 * weights[2]]], dtype=torch.float64)
    torch.testing.assert_close(annealed_mean(logits, temperature=1.0, bins=bins), mean)
    torch.testing.assert_close(annealed_mean(logits, temperature=1e-3, bins=bins), torch.zeros(1, 2).double())
