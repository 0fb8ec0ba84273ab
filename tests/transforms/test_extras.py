"""Turns, noise, holes, functions of one's own and transforms of torchvision."""

import dataclasses

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from sslbolts.errors import UsageError
from sslbolts.transforms import BatchedAugment, MultiView, TransformsView, View, random_crops
from sslbolts.transforms.parameters import draw_parameters
from tests.transforms.naive import levels, naive_batch
from tests.transforms.pictures import pictures

PLAIN = View(32, jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2, solarize_p=0.2)
ALL = dataclasses.replace(
    PLAIN,
    vertical_flip=0.5,
    quarter_turns=0.75,
    rotation=25.0,
    noise_p=0.5,
    noise_sigma=(0.05, 0.2),
    erase_p=0.5,
)
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(view, n=24, **arguments):
    return draw_parameters(view, n, 32, 32, generator=seeded(), **arguments)


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize(
    "only",
    [{"vertical_flip": 0.5}, {"quarter_turns": 0.75}, {"rotation": 25.0}, {"noise_p": 0.5}, {"erase_p": 0.9}, {}],
)
def test_views_with_extras_equal_torchvisions(only, crop):
    view = dataclasses.replace(PLAIN, **only) if only else ALL
    images, draws = pictures(24), drawn(view, crop=crop)
    expected = naive_batch(images, draws, view)
    augment = BatchedAugment(view)
    for form in (augment.apply, torch.no_grad()(augment._branch_free)):
        result = form(images, draws)
        assert levels(result, expected) < 0.05
        assert levels(result, naive_batch(images, dataclasses.replace(draws, extras=None), view)) > 5


def test_erased_pixels_are_the_mean_of_normalized_images():
    view = dataclasses.replace(PLAIN, erase_p=1.0)
    draws = drawn(view)
    result = BatchedAugment(view, mean=MEAN, std=STD).apply(pictures(24), draws)
    for image, (top, left, height, width) in zip(result, draws.extras.hole.int().tolist(), strict=True):
        assert height * width > 0
        assert not image[:, top : top + height, left : left + width].any()


def test_extras_leave_what_is_drawn_without_them_and_cost_no_draw_where_they_are_off():
    before, after = drawn(PLAIN), drawn(ALL)
    for name in ("box", "flip", "order", "factors", "grayscale", "blur", "sigma", "solarize"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    assert before.extras is None
    generator = seeded()
    draw_parameters(PLAIN, 4, 32, 32, generator=generator)
    off = dataclasses.replace(PLAIN, noise_sigma=(0.5, 0.6), erase_scale=(0.5, 0.6))
    other = seeded()
    draw_parameters(off, 4, 32, 32, generator=other)
    assert torch.equal(generator.get_state(), other.get_state())


def test_draws_have_the_stated_distributions():
    view = dataclasses.replace(ALL, noise_p=0.0, erase_p=1.0, quarter_turns=0.6)
    extras = drawn(view, 4000, crop=False).extras
    # Four standard deviations of a share of 4000 are 0.032 at most.
    assert abs(extras.vertical_flip.float().mean() - 0.5) < 0.032
    shares = extras.quarters.bincount(minlength=4) / 4000
    assert (shares - torch.tensor([0.4, 0.2, 0.2, 0.2])).abs().max() < 0.032
    assert extras.angle.abs().max() <= 25
    assert abs(extras.angle.mean()) < 4 * 25 / 3**0.5 / 4000**0.5
    torch.manual_seed(0)
    image = torch.zeros(1, 32, 32)
    theirs = [v2.RandomErasing(1.0, value=1.0)(image) for _ in range(1000)]
    area = torch.stack(theirs).mean((1, 2, 3)).quantile(torch.linspace(0.1, 0.9, 9))
    ours = (extras.hole[:, 2] * extras.hole[:, 3] / 32**2).quantile(torch.linspace(0.1, 0.9, 9))
    assert (ours - area).abs().max() < 0.02
    assert bool((extras.hole[:, :2] + extras.hole[:, 2:] <= 32).all())


def test_noise_has_the_stated_deviation_and_every_image_its_own():
    view = View(32, noise_p=0.5, noise_sigma=(0.1, 0.1))
    noise = drawn(view, 200, channels=5).extras.noise
    assert noise.shape == (200, 5, 32, 32)
    spread = noise.flatten(1).std(1)
    hit = spread > 0
    assert 60 < int(hit.sum()) < 140
    assert (spread[hit] - 0.1).abs().max() < 0.01


def test_a_function_of_ones_own_sees_the_whole_batch_before_it_is_normalized():
    seen = []

    def custom(images, generator):
        seen.append(images.clone())
        return images * torch.rand(len(images), 1, 1, 1, generator=generator)

    view = dataclasses.replace(ALL, custom=custom)
    images, augment = pictures(24), BatchedAugment(view, mean=MEAN, std=STD)
    first, again = (augment(images, generator=seeded()) for _ in range(2))
    assert torch.equal(first, again)
    assert [len(batch) for batch in seen] == [24, 24]
    assert 0 <= seen[0].min() <= seen[0].max() <= 1
    generator = seeded()
    draws = draw_parameters(view, 24, 32, 32, generator=generator)
    expected = TF.normalize(seen[0] * torch.rand(24, 1, 1, 1, generator=generator), MEAN, STD)
    for image, (top, left, height, width) in zip(expected, draws.extras.hole.int().tolist(), strict=True):
        image[:, top : top + height, left : left + width] = 0
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-5)


def test_transforms_of_torchvision_make_a_view_as_they_do_alone():
    steps = [v2.RandomCrop(24), v2.RandomHorizontalFlip(), v2.RandomPosterize(3)]
    (view, other) = MultiView((steps, View(16))).views
    assert isinstance(view, TransformsView)
    assert view.size == 24
    image = pictures(1, 5, 32, 40)[0]
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = random_crops(image, [view, other], generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(second, random_crops(image, [View(24), other], generator=seeded())[1])
    assert torch.equal(first, random_crops(image, [view, other], generator=seeded())[0])
    deterministic = TransformsView(24, transforms=[v2.CenterCrop(24), v2.ToDtype(torch.float32, scale=True)])
    assert torch.equal(random_crops(image, [deterministic], generator=seeded())[0], TF.center_crop(image, [24, 24]))
    finished = BatchedAugment(view)(first[None], generator=seeded(), crop=False)
    torch.testing.assert_close(finished[0], first / 255)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: View(32, rotation=-1), "rotation=-1 must be from 0 to 180"),
        (lambda: View(32, erase_p=2), "erase_p=2"),
        (lambda: View(32, noise_sigma=(0.2, 0.1)), "noise_sigma"),
        (lambda: View(32, custom=3), "custom=3 must be a function"),
        (lambda: MultiView(([v2.RandomHorizontalFlip()],)), "do not say how large a view is"),
        (lambda: TransformsView(32), "one or more transforms"),
        (lambda: TransformsView(32, transforms=[v2.RandomCrop(32)], blur_p=0.5), "blur_p= has no effect"),
        (
            lambda: random_crops(
                pictures(1)[0], [TransformsView(16, transforms=[v2.CenterCrop(8)])], generator=seeded()
            ),
            r"made \(3, 8, 8\), but a view of this image is \(3, 16, 16\)",
        ),
        (
            lambda: random_crops(
                pictures(1)[0], [TransformsView(32, transforms=[lambda x: x.float() - 1])], generator=seeded()
            ),
            "leave Normalize out",
        ),
        (
            lambda: BatchedAugment(View(32, custom=lambda x, g: x[:1]))(pictures(4), generator=seeded()),
            "images of the same shape",
        ),
    ],
)
def test_what_makes_no_view_is_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()
