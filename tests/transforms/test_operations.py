"""Each batched operation against torchvision's, on float images with the same parameters."""

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from sslbolts.transforms import View
from sslbolts.transforms.blur import _by_matrices, _by_shifts, gaussian_blur, gaussian_weights
from sslbolts.transforms.color import (
    adjust_brightness_,
    adjust_contrast_,
    adjust_hue_,
    adjust_saturation_,
    grayscale_,
    jitter_,
    jitter_branch_free,
    solarize_,
)
from sslbolts.transforms.geometry import _by_matrices as crop_by_matrices
from sslbolts.transforms.geometry import _one_by_one as crop_one_by_one
from sslbolts.transforms.geometry import flipped, resized_crop
from sslbolts.transforms.linear_color import apply_color_maps, color_maps
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, draw_parameters
from tests.transforms.naive import ADJUST, levels
from tests.transforms.pictures import pictures

# Levels of 255 that float32 may differ by.
EXACT = 0.01


def floats(n=24, channels=3, height=32, width=32):
    return pictures(n, channels, height, width).float() / 255


def per_image(values):
    return torch.as_tensor(values)[:, None, None, None]


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (adjust_brightness_, TF.adjust_brightness, 0.0, 2.0),
        (adjust_contrast_, TF.adjust_contrast, 0.0, 2.0),
        (adjust_saturation_, TF.adjust_saturation, 0.0, 2.0),
        (adjust_hue_, TF.adjust_hue, -0.5, 0.5),
    ],
)
@pytest.mark.parametrize("layout", ["channels first", "color planes", "channels last"])
def test_color_operations_equal_torchvisions(ours, theirs, low, high, layout):
    images = floats()
    values = torch.linspace(low, high, len(images))
    expected = torch.stack([theirs(image, float(value)) for image, value in zip(images, values, strict=True)])
    given = {
        "channels first": images.clone(),
        "color planes": images.transpose(0, 1).contiguous().transpose(0, 1),
        "channels last": images.contiguous(memory_format=torch.channels_last),
    }[layout]
    result = ours(given, per_image(values))
    assert result.data_ptr() == given.data_ptr()
    assert levels(result, expected) < EXACT


def test_hue_of_pure_gray_and_extreme_colors():
    corners = torch.tensor([[r, g, b] for r in (0.0, 0.5, 1.0) for g in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)])
    images = corners.t().reshape(1, 3, 1, 27).repeat(41, 1, 1, 1)
    turns = torch.linspace(-0.5, 0.5, 41)
    expected = torch.stack([TF.adjust_hue(image, float(t)) for image, t in zip(images, turns, strict=True)])
    assert levels(adjust_hue_(images.clone(), per_image(turns)), expected) < EXACT


def test_grayscale_and_solarize_equal_torchvisions():
    images = floats()
    assert levels(grayscale_(images.clone()), TF.rgb_to_grayscale(images, num_output_channels=3)) < EXACT
    for threshold in (0.0, 100.0, 128.0, 255.0):
        assert levels(solarize_(images.clone(), threshold), TF.solarize(images, threshold / 255)) < EXACT


def test_solarize_inverts_levels_from_the_threshold_on():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    expected = TF.solarize(ramp, 128).float() / 255
    for as_float in (ramp.float() / 255, ramp.float() * (1 / 255)):
        assert levels(solarize_(as_float, 128.0), expected) < EXACT


@pytest.mark.parametrize("order", range(24))
def test_color_operations_in_every_order_equal_torchvisions(order):
    images = floats(6)
    factors = torch.tensor([[1.7, 0.3, 1.6, 0.2], [0.4, 1.8, 0.2, -0.2]] * 3)
    expected = images.clone()
    for row in range(len(images)):
        for operation in ORDERS[order]:
            expected[row] = ADJUST[operation](expected[row], float(factors[row, operation]))
    factors = factors.t()[..., None, None, None]
    assert levels(jitter_(images.clone(), ORDERS[order], factors), expected) < EXACT
    assert levels(jitter_branch_free(images, torch.full((6,), order), factors), expected) < EXACT


def test_the_branch_free_form_leaves_what_is_not_jittered_bit_for_bit():
    images = floats(4)
    order = torch.tensor([NOT_JITTERED, 3, NOT_JITTERED, 17])
    result = jitter_branch_free(images, order, torch.full((4, 4, 1, 1, 1), 0.4))
    assert torch.equal(result[::2], images[::2])
    assert not torch.isclose(result[1::2], images[1::2]).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width", "kernel"), [(32, 32, 3), (32, 40, 7), (96, 96, 9), (100, 120, 23)])
@pytest.mark.parametrize("blur", [gaussian_blur, _by_matrices, _by_shifts])
def test_blur_equals_torchvisions(blur, channels, height, width, kernel):
    images = floats(5, channels, height, width)
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    expected = torch.stack(
        [TF.gaussian_blur(image, [kernel] * 2, [float(s)] * 2) for image, s in zip(images, sigma, strict=True)]
    )
    spread = sigma if blur is gaussian_blur else gaussian_weights(sigma, kernel)
    result = blur(images, sigma, kernel) if blur is gaussian_blur else blur(images, spread)
    assert levels(result, expected) < EXACT


def test_the_kernel_of_a_blur_may_reach_twice_the_side():
    images = floats(2, 3, 12, 12)
    expected = TF.gaussian_blur(images, [23, 23], [2.0, 2.0])
    assert levels(gaussian_blur(images, torch.full((2,), 2.0), 23), expected) < EXACT


@pytest.mark.parametrize("way", [resized_crop, crop_by_matrices, crop_one_by_one])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("channels", "height", "width", "size"),
    [(3, 32, 32, 32), (3, 40, 30, 32), (1, 32, 32, 16), (4, 64, 48, 24), (3, 90, 120, 100)],
)
def test_resized_crops_with_flip_equal_torchvisions(way, interpolation, channels, height, width, size):
    images = pictures(24, channels, height, width)
    generator = torch.Generator().manual_seed(0)
    drawn = draw_parameters(View(size, scale=(0.01, 1.0)), 24, height, width, generator=generator)
    drawn.box[0] = torch.tensor([0, 0, height, width])
    drawn.box[1] = torch.tensor([height - 1, width - 1, 1, 1])
    drawn.box[2] = torch.tensor([0, width - 2, height, 2])
    expected = []
    for image, box, flip in zip(images, drawn.box.long().tolist(), drawn.flip, strict=True):
        mode = InterpolationMode(interpolation)
        crop = TF.resized_crop(image.float() / 255, *box, [size, size], interpolation=mode, antialias=True)
        expected.append((TF.horizontal_flip(crop) if flip else crop).clamp(0, 1))
    expected = torch.stack(expected)
    assert levels(way(images, drawn.box, drawn.flip, size, interpolation), expected) < EXACT
    assert levels(way(images.float() / 255, drawn.box, drawn.flip, size, interpolation), expected) < EXACT


def test_flip_mirrors_only_what_it_is_told_to():
    images = pictures(3)
    expected = images.float() / 255
    expected[1] = TF.horizontal_flip(expected[1])
    flip = torch.tensor([False, True, False])
    assert torch.equal(flipped(images, flip), expected)
    assert torch.equal(flipped(images.float() / 255, flip), expected)


def test_linear_color_equals_torchvision_where_nothing_clips_and_the_hue_stays():
    images = 0.3 + 0.2 * floats(8)  # far from 0 and 1
    factors = torch.tensor([[1.2, 0.8, 1.1, 0.0], [0.9, 1.2, 0.7, 0.0]] * 4)
    order = torch.arange(8) * 3
    order[7] = NOT_JITTERED
    gray = torch.tensor([False, True] * 4)
    expected = images.clone()
    for row in range(8):
        for operation in ORDERS[int(order[row])] if row < 7 else ():
            expected[row] = ADJUST[operation](expected[row], float(factors[row, operation]))
        if gray[row]:
            expected[row] = TF.rgb_to_grayscale(expected[row], num_output_channels=3)
    assert levels(apply_color_maps(images, *color_maps(order, factors, gray)), expected) < EXACT


def test_linear_hue_turns_colors_about_the_gray_axis():
    images = floats(4)
    drawn_gray = torch.zeros(4, dtype=torch.bool)
    turns = torch.tensor([0.0, 0.25, -0.25, 0.5])
    factors = torch.stack((torch.ones(4), torch.ones(4), torch.ones(4), turns), 1)
    a, _ = color_maps(torch.zeros(4, dtype=torch.long), factors, drawn_gray)
    torch.testing.assert_close(a[0], torch.eye(3), atol=1e-5, rtol=0)  # no turn
    torch.testing.assert_close(a[1] @ a[2], torch.eye(3), atol=1e-5, rtol=0)  # there and back
    torch.testing.assert_close(a[1] @ a[1], a[3], atol=1e-5, rtol=0)  # two quarters are a half
    torch.testing.assert_close(a.sum(2), torch.ones(4, 3), atol=1e-5, rtol=0)  # gray stays gray
    assert levels(apply_color_maps(images, a, torch.zeros(4, 3, 3))[0], images[0]) < EXACT


def test_linear_hue_turns_the_way_of_the_color_circle():
    """By a twelfth, red becomes orange, green turns to spring green, blue to violet; and back the other way."""
    colors = torch.tensor([[0.8, 0.3, 0.3], [0.3, 0.8, 0.3], [0.3, 0.3, 0.8]]).repeat(2, 1)[..., None, None]
    turns = torch.tensor([1 / 12] * 3 + [-1 / 12] * 3)
    factors = torch.stack((*[torch.ones(6)] * 3, turns), 1)
    maps = color_maps(torch.zeros(6, dtype=torch.long), factors, torch.zeros(6, dtype=torch.bool))
    turned = apply_color_maps(colors, *maps)[..., 0, 0]
    for row, color in enumerate(turned):
        main, forth = row % 3, (row + (1 if row < 3 else 2)) % 3  # HSV goes from red to green to blue
        assert color[forth] > color[3 - main - forth] + 0.1
