import functools
import itertools
import math

import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from sslbolts.transforms import View
from sslbolts.transforms.crops import random_box
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, central_box, draw_parameters

FULL = View(32, jitter=(0.8, 0.6, 0.4, 0.2), jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, solarize_p=0.3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def boxes_of_torchvision(view, height, width, count):
    image = torch.empty(3, height, width)
    crop = RandomResizedCrop(view.size, view.scale, view.ratio)
    torch.manual_seed(3)
    return torch.tensor([crop.get_params(image, crop.scale, crop.ratio) for _ in range(count)]).float()


def boxes_in_batches(view, height, width, count):
    return draw_parameters(view, count, height, width, generator=seeded(1)).box


def boxes_one_by_one(view, height, width, count):
    tries = torch.rand(count, 10, 4, generator=seeded(2)).tolist()
    return torch.tensor([random_box(view, height, width, numbers) for numbers in tries]).float()


@pytest.mark.parametrize("drawn_by", [boxes_in_batches, boxes_one_by_one])
@pytest.mark.parametrize(
    ("view", "height", "width"),
    [
        (View(32), 32, 32),
        (View(224), 375, 500),
        (View(96, scale=(0.05, 0.14)), 500, 333),
        (View(32, scale=(0.05, 0.1), ratio=(1 / 8, 8.0)), 128, 128),  # of a uniform ratio most would be wide
        (View(32, scale=(0.9, 1.0)), 40, 120),  # most tries do not fit: the central crop
    ],
)
def test_crop_boxes_have_torchvisions_distribution(drawn_by, view, height, width):
    count = 4000
    ours = drawn_by(view, height, width, count)
    theirs = boxes_of_torchvision(view, height, width, count)
    probabilities = torch.linspace(0.02, 0.98, 25)
    for name, a, b in zip(("top", "left", "height", "width"), ours.t(), theirs.t(), strict=True):
        # Two samples of 4000 differ by more than this in their distribution functions once in some 10^5 times.
        grid = torch.quantile(b, probabilities).unique()
        gap = ((a[:, None] <= grid).float().mean(0) - (b[:, None] <= grid).float().mean(0)).abs().max()
        assert gap < 0.054, name
    assert bool((ours >= 0).all())
    assert bool((ours[:, 0] + ours[:, 2] <= height).all())
    assert bool((ours[:, 1] + ours[:, 3] <= width).all())
    assert bool((ours[:, 2:] >= 1).all())
    assert bool((ours == ours.round()).all())


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10), (50, 60)])
def test_where_no_try_fits_the_central_crop_is_torchvisions(height, width):
    # Twice the area of the image never fits.
    crop = RandomResizedCrop(8, (2.0, 2.0), (3 / 4, 4 / 3))
    expected = crop.get_params(torch.empty(3, height, width), crop.scale, crop.ratio)
    assert central_box(height, width, (3 / 4, 4 / 3)) == tuple(expected)


def test_the_central_crop_is_taken_by_both_ways_of_drawing():
    view = View(8, scale=(1.0, 1.0))
    expected = central_box(10, 100, view.ratio)
    assert random_box(view, 10, 100, [(0.5, 0.5, 0.5, 0.5)] * 10) == expected
    assert (
        draw_parameters(view, 5, 10, 100, generator=seeded()).box.tolist() == [[float(value) for value in expected]] * 5
    )


@pytest.mark.parametrize("n", [20, 33, 256])
def test_larger_batches_have_exact_shares_up_to_one_image_in_random_places(n):
    first, second = (draw_parameters(FULL, n, 32, 32, generator=seeded(seed)) for seed in (0, 1))
    for drawn in (first, second):
        assert int((drawn.order != NOT_JITTERED).sum()) in (math.floor(0.8 * n), math.ceil(0.8 * n))
        assert int(drawn.grayscale.sum()) in (math.floor(0.2 * n), math.ceil(0.2 * n))
        assert int(drawn.blur.sum()) in (math.floor(0.5 * n), math.ceil(0.5 * n))
        assert int(drawn.solarize.sum()) in (math.floor(0.3 * n), math.ceil(0.3 * n))
    assert not torch.equal(first.blur, second.blur)


@pytest.mark.parametrize("n", [1, 19, 20])  # batches have exact shares from 20 on
def test_every_position_is_hit_with_the_given_probability(n):
    view = View(32, jitter_p=0.8, grayscale_p=0.02, blur_p=0.5, solarize_p=0.31)
    generator, batches = seeded(), 500
    drawn = [draw_parameters(view, n, 32, 32, generator=generator) for _ in range(batches)]
    for name, probability in (("grayscale", 0.02), ("blur", 0.5), ("solarize", 0.31), ("flip", 0.5), ("order", 0.8)):
        hits = torch.stack([getattr(one, name) for one in drawn])
        rate = (hits != NOT_JITTERED if name == "order" else hits).float().mean(0)
        deviation = (probability * (1 - probability) / batches) ** 0.5
        assert float((rate - probability).abs().max()) < 4.5 * deviation, name
        # Where batches have exact shares, their mean over all positions is as exact as their rounding.
        assert abs(float(rate.mean()) - probability) < 4.5 * deviation / n**0.5, name


def test_every_image_of_a_batch_is_flipped_or_not_on_its_own():
    flip = draw_parameters(View(32, flip=0.3), 1000, 32, 32, generator=seeded()).flip
    assert float(flip.float().mean()) == pytest.approx(0.3, abs=4.5 * (0.3 * 0.7 / 1000) ** 0.5)


@pytest.mark.parametrize("n", [5, 100])
def test_probabilities_of_0_and_1_are_kept(n):
    never = draw_parameters(View(32, flip=0.0, jitter_p=0.0), n, 32, 32, generator=seeded())
    always = View(32, flip=1.0, jitter_p=1.0, grayscale_p=1.0, blur_p=1.0, solarize_p=1.0)
    always = draw_parameters(always, n, 32, 32, generator=seeded())
    assert not bool(never.flip.any() | never.grayscale.any() | never.blur.any() | never.solarize.any())
    assert bool((never.order == NOT_JITTERED).all())
    assert bool((always.flip & always.grayscale & always.blur & always.solarize).all())
    assert bool((always.order != NOT_JITTERED).all())


def test_all_orders_come_equally_often_and_factors_fill_their_ranges():
    drawn = draw_parameters(FULL, 24000, 32, 32, generator=seeded())
    counts = drawn.order.bincount(minlength=25)
    assert int(counts[NOT_JITTERED]) == 4800
    assert float((counts[:24] - 800).abs().max()) < 5 * 800**0.5
    expected = torch.tensor([[0.2, 1.8], [0.4, 1.6], [0.6, 1.4], [-0.2, 0.2]])
    torch.testing.assert_close(drawn.factors.aminmax(dim=0).min, expected[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(drawn.factors.aminmax(dim=0).max, expected[:, 1], atol=2e-3, rtol=0)
    torch.testing.assert_close(drawn.factors.mean(0), expected.mean(1), atol=0.02, rtol=0)
    assert sorted(ORDERS) == sorted(itertools.permutations(range(4)))


def test_strengths_above_one_do_not_give_negative_factors():
    drawn = draw_parameters(View(32, jitter=(2.0, 0.0, 0.0, 0.0)), 2000, 32, 32, generator=seeded())
    assert 0 <= float(drawn.factors[:, 0].min()) < 0.01
    assert 2.99 < float(drawn.factors[:, 0].max()) <= 3


def test_operations_of_one_view_are_drawn_independently():
    n = 20000
    drawn = draw_parameters(FULL, n, 32, 32, generator=seeded())
    columns = [drawn.flip, drawn.order != NOT_JITTERED, drawn.grayscale, drawn.blur, drawn.solarize, drawn.sigma]
    columns += [*drawn.factors.unbind(1), *drawn.box.unbind(1)]
    correlations = torch.corrcoef(torch.stack([column.float() for column in columns]))
    size = correlations[-2:, -2:]  # a crop's place and size do depend on each other
    assert float(size[0, 1].abs()) > 0.5
    assert float((correlations[:10, :10] - torch.eye(10)).abs().max()) < 5 / n**0.5
    assert float(correlations[:10, 10:].abs().max()) < 5 / n**0.5


@pytest.mark.parametrize("n", [8, 64])
def test_what_is_taken_from_the_generator_does_not_depend_on_the_view(n):
    other = View(16, scale=(0.2, 0.5), interpolation="bicubic", flip=0.0, blur_p=1.0, blur_sigma=(1.0, 3.0))
    states = []
    for view in (FULL, other, View(32, jitter_p=0.0)):
        generator = seeded(7)
        draw_parameters(view, n, 40, 30, generator=generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])
