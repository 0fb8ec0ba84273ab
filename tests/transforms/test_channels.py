"""Images of any number of channels, and of 16 bits."""

import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from sslbolts.errors import UsageError
from sslbolts.transforms import BatchedAugment, BatchedEvaluate, Evaluation, View, center_crop, random_crops
from sslbolts.transforms.channels import color_channels
from sslbolts.transforms.parameters import BRIGHTNESS, CONTRAST, NOT_JITTERED, ORDERS, draw_parameters
from tests.transforms.naive import levels, naive_batch
from tests.transforms.pictures import pictures

VIEW = View(32, jitter=(0.8, 0.8, 0.8, 0.2), grayscale_p=0.3, blur_p=0.5, blur_kernel=5, solarize_p=0.3, noise_p=0.5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def forms(augment):
    return augment.apply, torch.no_grad()(augment._branch_free)


def without_colors(draws):
    none = torch.zeros_like(draws.grayscale)
    order = torch.full_like(draws.order, NOT_JITTERED)
    return dataclasses.replace(draws, order=order, grayscale=none, solarize=none)


def some_noise(draws, channels):
    noise = draws.extras.noise[:, list(channels)]
    return dataclasses.replace(draws, extras=dataclasses.replace(draws.extras, noise=noise))


@pytest.mark.parametrize("color_first", [False, True])
@pytest.mark.parametrize("channels", [(3, 2, 1), (1, 2, 3), (6, 0, 3)])
def test_color_operations_change_the_named_channels_alone(channels, color_first):
    view = dataclasses.replace(VIEW, color_first=color_first)
    images = pictures(24, 7, 36, 40)
    draws = draw_parameters(view, 24, 36, 40, generator=seeded(), channels=7)
    expected = naive_batch(images, without_colors(draws), view)
    named = list(channels)
    expected[:, named] = naive_batch(images[:, named], some_noise(draws, channels), view)
    for form in forms(BatchedAugment(view, color_channels=channels)):
        assert levels(form(images, draws), expected) < 0.02


def test_the_linear_approximation_changes_the_named_channels_alone():
    images = pictures(24, 5)
    view = dataclasses.replace(VIEW, noise_p=0.0)
    draws = draw_parameters(view, 24, 32, 32, generator=seeded())
    five = BatchedAugment(view, color="linear", color_channels=(4, 2, 0))
    three = BatchedAugment(view, color="linear")
    for form, of_three in zip(forms(five), forms(three), strict=True):
        result = form(images, draws)
        assert levels(result[:, [4, 2, 0]], of_three(images[:, [4, 2, 0]], draws)) < 0.01
        assert levels(result[:, [1, 3]], naive_batch(images, without_colors(draws), view)[:, [1, 3]]) < 0.01


@pytest.mark.parametrize(("channels", "given"), [(5, None), (3, ()), (2, None)])
def test_without_colors_brightness_and_contrast_change_every_channel_about_its_own_mean(channels, given):
    images = pictures(24, channels)
    view = dataclasses.replace(VIEW, blur_p=0.0, noise_p=0.0)
    draws = draw_parameters(view, 24, 32, 32, generator=seeded())
    expected = naive_batch(images, without_colors(draws), view)
    for row, image in enumerate(expected):
        for plane in image:
            x = plane[None].clone()
            for operation in ORDERS[int(draws.order[row])] if draws.order[row] != NOT_JITTERED else ():
                factor = float(draws.factors[row, operation])
                if operation == BRIGHTNESS:
                    x = TF.adjust_brightness(x, factor)
                elif operation == CONTRAST:
                    x = (factor * x + (1 - factor) * x.mean()).clamp(0, 1)
            plane.copy_(x[0])
    for form in forms(BatchedAugment(view, color_channels=given)):
        assert levels(form(images, draws), expected) < 0.01


def test_images_of_16_bits_give_what_the_same_floats_give():
    images = torch.randint(0, 65536, (24, 5, 40, 36), generator=seeded()).to(torch.uint16)
    floats = images.float() / 65535
    for crop in (True, False):
        of_size = (images, floats) if crop else (images[..., :32, :32].clone(), floats[..., :32, :32])
        augment = BatchedAugment(VIEW)
        deep, expected = (augment(given, generator=seeded(), crop=crop) for given in of_size)
        assert levels(deep, expected) < 0.01
    evaluation = Evaluation(resize=24, size=20, interpolation="bicubic")
    cut = center_crop(images[0], evaluation)
    assert cut.dtype == torch.uint16
    expected = BatchedEvaluate(evaluation)(floats[:1])
    assert (cut.float() / 65535 - expected[0]).abs().max() < 1 / 65535
    crop, whole = (random_crops(given, [View(20)], generator=seeded())[0] for given in (images[0], _bytes(images[0])))
    assert crop.dtype == torch.uint16
    assert (crop.float() / 65535 - whole.float() / 255).abs().max() < 2 / 255


def _bytes(image):
    return (image.float() / 257).round().to(torch.uint8)


@pytest.mark.parametrize("given", [(0, 1), (0, 0, 1), "rgb", (0, 1, 2.0), 3, (True, 0, 2)])
def test_color_channels_that_are_none_are_refused(given):
    with pytest.raises(UsageError, match="three different channels"):
        color_channels(given, 5)


def test_color_channels_out_of_range_are_refused():
    with pytest.raises(UsageError, match=r"color_channels=\[0, 1, 5\] are not all there: with in_chans=5"):
        color_channels((0, 1, 5), 5)
    with pytest.raises(UsageError, match="not all there"):
        color_channels((-1,), 5)
