import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import UsageError
from sslbolts.transforms import RECIPES, BatchedAugment, BatchedEvaluate, Evaluation, View
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, draw_parameters
from tests.transforms.naive import levels, naive_batch
from tests.transforms.pictures import pictures

EVERYTHING = View(
    32,
    jitter=(0.8, 0.8, 0.8, 0.2),
    grayscale_p=0.2,
    blur_p=0.5,
    blur_kernel=5,
    solarize_p=0.2,
    solarize_threshold=100.5,
)
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def forms(augment):
    """The two ways in which parameters are applied: in groups (CPU), and branch-free (accelerators)."""
    return augment.apply, torch.no_grad()(augment._branch_free)


@pytest.mark.parametrize("n", [6, 64])
@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_whole_views_equal_torchvisions(n, crop, interpolation):
    view = dataclasses.replace(EVERYTHING, interpolation=interpolation)
    height, width = (40, 36) if crop else (32, 32)
    images = pictures(n, 3, height, width)
    drawn = draw_parameters(view, n, height, width, generator=seeded(), crop=crop)
    expected = TF.normalize(naive_batch(images, drawn, view), MEAN, STD)
    for form in forms(BatchedAugment(view, mean=MEAN, std=STD)):
        result = form(images, drawn)
        assert result.is_contiguous()
        assert result.dtype == torch.float32
        assert levels(min(STD) * result, min(STD) * expected) < 0.01


@pytest.mark.parametrize("color_first", [False, True])
def test_larger_views_equal_torchvisions(color_first):
    view = dataclasses.replace(EVERYTHING, size=80, blur_kernel=9, solarize_p=0.0, color_first=color_first)
    images = pictures(8, 3, 100, 90)
    drawn = draw_parameters(view, 8, 100, 90, generator=seeded())
    for form in forms(BatchedAugment(view)):
        assert levels(form(images, drawn), naive_batch(images, drawn, view)) < 0.01


def test_colors_before_the_crop_equal_torchvisions():
    view = dataclasses.replace(EVERYTHING, size=24, interpolation="bicubic", color_first=True)
    images = pictures(40, 3, 40, 36)
    kept, drawn = images.clone(), draw_parameters(view, 40, 40, 36, generator=seeded())
    expected = naive_batch(images, drawn, view)
    for form in forms(BatchedAugment(view)):
        assert levels(form(images, drawn), expected) < 0.01
    assert torch.equal(images, kept)
    after = dataclasses.replace(view, color_first=False)  # with the same parameters: contrast is about the crop's mean
    assert levels(BatchedAugment(after).apply(images, drawn), expected) > 5


@pytest.mark.parametrize("parts", [1, 5])
def test_results_do_not_depend_on_how_the_batch_is_cut_up(monkeypatch, parts):
    images, augment = pictures(40), BatchedAugment(EVERYTHING)
    drawn = draw_parameters(EVERYTHING, 40, 32, 32, generator=seeded())
    whole = augment.apply(images, drawn)
    monkeypatch.setattr("sslbolts.transforms.batched._PART_BYTES", 4 * 3 * 32 * 32 * parts)
    monkeypatch.setattr("sslbolts.transforms.batched._GROUP_BYTES", 1)
    assert levels(augment.apply(images, drawn), whole) < 1e-3


@pytest.mark.parametrize("color", ["exact", "linear"])
@pytest.mark.parametrize("crop", [True, False])
def test_one_seed_gives_one_result_and_the_images_stay_as_they_were(color, crop):
    images = pictures(24)
    kept = images.clone()
    augment = BatchedAugment(EVERYTHING, color=color)
    first, again, other = (augment(images, generator=seeded(seed), crop=crop) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, kept)


def test_global_generators_are_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = BatchedAugment(EVERYTHING)(pictures(24), generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(BatchedAugment(EVERYTHING)(pictures(24), generator=seeded()), first)


@pytest.mark.parametrize(("n", "size", "height"), [(1, 32, 32), (64, 32, 32), (3, 80, 120)])
@pytest.mark.parametrize("color", ["exact", "linear"])
def test_the_number_of_threads_changes_no_bit(n, size, height, color):
    images = pictures(n, 3, height, height)
    augment = BatchedAugment(dataclasses.replace(EVERYTHING, size=size), mean=MEAN, std=STD, color=color)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(augment(images, generator=seeded()))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("color", ["exact", "linear"])
def test_images_get_different_parameters(color):
    images = pictures(1).expand(32, 3, 32, 32)
    views = BatchedAugment(EVERYTHING, color=color)(images, generator=seeded()).flatten(1)
    distances = torch.cdist(views, views) + 100 * torch.eye(32)
    assert float(distances.min()) > 1e-3


def test_the_linear_form_is_near_the_exact_one():
    view = dataclasses.replace(EVERYTHING, jitter=(0.4, 0.4, 0.4, 0.0), solarize_p=0.0)
    images = pictures(64)
    drawn = draw_parameters(view, 64, 32, 32, generator=seeded())
    exact = BatchedAugment(view).apply(images, drawn)
    for form in forms(BatchedAugment(view, color="linear")):
        assert float((form(images, drawn) - exact).abs().mean()) * 255 < 1.5  # only what was clamped in between differs


def test_the_linear_form_with_a_hue_is_nearer_the_exact_one_than_without():
    view = View(32, jitter=(0.8, 0.8, 0.8, 0.2), grayscale_p=0.2)
    images = CIFAR10MiniDataModule().load("train").data[:256]
    drawn = draw_parameters(view, 256, 32, 32, generator=seeded())
    exact = BatchedAugment(view).apply(images, drawn)
    without = dataclasses.replace(drawn, factors=drawn.factors.clone())
    without.factors[:, 3] = 0
    for form in forms(BatchedAugment(view, color="linear")):
        apart, apart_without = (float((form(images, d) - exact).abs().mean()) * 255 for d in (drawn, without))
        assert apart < 6
        assert apart < apart_without


@pytest.mark.parametrize("color", ["exact", "linear"])
def test_the_fourth_channel_gets_crop_flip_and_blur_but_no_color(color):
    view = dataclasses.replace(EVERYTHING, solarize_p=1.0, grayscale_p=1.0)
    plain = View(32, blur_p=0.5, blur_kernel=5)
    images = pictures(24, 4)
    drawn = draw_parameters(view, 24, 32, 32, generator=seeded())
    without_color = draw_parameters(plain, 24, 32, 32, generator=seeded())
    without_color.order.fill_(NOT_JITTERED)
    for form, plain_form in zip(forms(BatchedAugment(view, color=color)), forms(BatchedAugment(plain)), strict=True):
        result = form(images, drawn)
        torch.testing.assert_close(result[:, :3], form(images[:, :3], drawn), atol=1e-5, rtol=0)
        torch.testing.assert_close(result[:, 3:], plain_form(images[:, 3:], without_color), atol=1e-5, rtol=0)


@pytest.mark.parametrize("color", ["exact", "linear"])
def test_one_channel_knows_brightness_and_contrast_but_neither_saturation_nor_hue(color):
    view = View(32, jitter=(0.8, 0.8, 0.8, 0.2), grayscale_p=0.5, flip=0.0)
    images = pictures(24, 1)
    drawn = draw_parameters(view, 24, 32, 32, generator=seeded(), crop=False)
    expected = images.float() / 255
    for row in range(24):
        for operation in ORDERS[int(drawn.order[row])] if drawn.order[row] != NOT_JITTERED else ():
            if operation < 2:
                adjust = (TF.adjust_brightness, TF.adjust_contrast)[operation]
                expected[row] = adjust(expected[row], float(drawn.factors[row, operation]))
    for form in forms(BatchedAugment(view, mean=(0.0,), std=(1.0,), color=color)):
        assert levels(form(images, drawn), expected) < 0.01


def test_float_images_give_what_uint8_images_give():
    images = pictures(24)
    augment = BatchedAugment(dataclasses.replace(EVERYTHING, solarize_p=0.0))
    for crop in (True, False):
        from_bytes = augment(images, generator=seeded(), crop=crop)
        assert levels(augment(images.float() / 255, generator=seeded(), crop=crop), from_bytes) < 0.01
        assert levels(augment(images.double() / 255, generator=seeded(), crop=crop), from_bytes) < 0.01


def test_autocast_around_it_changes_nothing():
    augment, images = BatchedAugment(EVERYTHING), pictures(24)
    expected = augment(images, generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment(images, generator=seeded()), expected)


def test_an_empty_batch_stays_empty():
    empty = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert BatchedAugment(EVERYTHING)(empty, generator=seeded()).shape == (0, 3, 32, 32)


def views_of(paper, images, seed=0):
    """All views of a recipe, drawn one after another from one generator, as a DataModule draws them."""
    generator = seeded(seed)
    return [BatchedAugment(view)(images, generator=generator) for view in paper.views]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_papers_views_are_made_at_their_sizes_and_differ_from_each_other(name):
    images = pictures(20, 3, 32, 32)
    paper = RECIPES[name][32]
    views = views_of(paper, images)
    assert [tuple(view.shape) for view in views] == [(20, 3, view.size, view.size) for view in paper.views]
    assert all(float(view.min()) > -1e-6 and float(view.max()) < 1 + 1e-6 for view in views)
    for i, view in enumerate(views):
        assert not any(view.shape == other.shape and torch.equal(view, other) for other in views[:i])


@pytest.mark.parametrize(
    ("images", "crop", "says"),
    [
        (torch.zeros(2, 0, 32, 32, dtype=torch.uint8), True, "batch, channels, height, width"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), True, r"\(3, 32, 32\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), True, "torch.int64"),
        (torch.zeros(2, 3, 32, 40, dtype=torch.uint8), False, "32x32 pixels.*32x40"),
    ],
)
def test_images_that_cannot_be_augmented_are_refused(images, crop, says):
    with pytest.raises(UsageError, match=says):
        BatchedAugment(View(32))(images, generator=seeded(), crop=crop)


def test_impossible_arguments_are_refused():
    with pytest.raises(UsageError, match='color="exakt"'):
        BatchedAugment(View(32), color="exakt")
    with pytest.raises(UsageError, match="give both, or neither"):
        BatchedAugment(View(32), mean=MEAN)
    with pytest.raises(UsageError, match="std above 0"):
        BatchedAugment(View(32), mean=(0.5,), std=(0.0,))
    with pytest.raises(UsageError, match="3 numbers but the images have 1 channels"):
        BatchedAugment(View(32), mean=MEAN, std=STD)(pictures(2, 1), generator=seeded())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (71, 50), (36, 36)])
def test_evaluation_equals_torchvisions_resize_and_center_crop(interpolation, height, width):
    images = pictures(3, 3, height, width)
    resized = TF.resize(images.float() / 255, [36], interpolation=TF.InterpolationMode(interpolation), antialias=True)
    expected = TF.normalize(TF.center_crop(resized.clamp(0, 1), [32, 32]), MEAN, STD)
    evaluate = BatchedEvaluate(Evaluation(36, 32, interpolation), mean=MEAN, std=STD)
    torch.testing.assert_close(evaluate(images), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(evaluate(images.float() / 255), expected, atol=1e-4, rtol=0)


def test_evaluation_at_the_images_own_size_only_normalizes():
    images = pictures(3)
    assert torch.equal(BatchedEvaluate(Evaluation(32, 32))(images), images.float() / 255)
    assert BatchedEvaluate(Evaluation(32, 32))(pictures(2, 1)).shape == (2, 1, 32, 32)
