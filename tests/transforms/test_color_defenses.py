"""Defenses against colors and sharpness against their definitions. The published values are in tests/golden."""

import pytest
import torch
from torch.nn import functional as F

from sslbolts.transforms import color_defenses as colors


@pytest.fixture
def tiles() -> torch.Tensor:
    return torch.rand(2, 4, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_resolution_is_lowered_as_by_resizing_each_tile_there_and_back(tiles):
    sides = torch.tensor([[1, 3, 11, 12], [12, 7, 5, 2]])
    found = colors.lower_resolution(tiles, sides)
    for row in range(2):
        for column in range(4):
            tile = tiles[row, column][None]
            small = F.interpolate(tile, size=[int(sides[row, column])] * 2, mode="bilinear", align_corners=False)
            expected = F.interpolate(small, size=[12, 12], mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(found[row, column], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0, 3], tiles[0, 3])


def test_one_channel_is_kept_and_the_others_say_nothing(tiles):
    keep = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    noise = (torch.rand(tiles.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5) / 255
    found = colors.drop_colors(tiles, keep, noise)
    others = tiles + torch.arange(3.0)[:, None, None]  # another brightness of each channel
    torch.testing.assert_close(colors.drop_colors(others, keep, noise), found)
    deviations = found.std((-2, -1), correction=0)
    torch.testing.assert_close(
        deviations.amax(2), torch.full((2, 4), 50 * 3**0.5, dtype=torch.float64), rtol=1e-3, atol=0
    )
    assert torch.equal(deviations.argmax(2), keep)
    assert deviations.sort(2).values[..., :2].max() < 0.01 * 50 * 3**0.5


def test_brightness_and_contrast_of_a_tile_are_gone(tiles):
    changed = 0.3 * tiles + 0.2
    for normalize in (colors.normalize_channels, colors.standardize, colors.mean_variance_50):
        torch.testing.assert_close(normalize(changed), normalize(tiles), rtol=1e-6, atol=1e-6)
    by_channel = tiles * torch.tensor([0.5, 1.0, 0.8])[:, None, None] + torch.tensor([0.1, 0.0, 0.3])[:, None, None]
    torch.testing.assert_close(colors.normalize_channels(by_channel), colors.normalize_channels(tiles))


def test_a_uniform_tile_stays_finite(tiles):
    uniform = torch.full_like(tiles, 0.5)
    for normalize in (colors.normalize_channels, colors.standardize, colors.mean_variance_50):
        assert normalize(uniform).abs().max() < 1e-5


def test_what_is_removed_is_the_way_from_green_to_magenta(tiles):
    magenta = torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(colors.remove_green_magenta(tiles + 0.3 * magenta), colors.remove_green_magenta(tiles))
    assert (colors.remove_green_magenta(tiles) * magenta).sum(-3).abs().max() < 1e-12
    gray = colors.mean_gray(tiles)
    torch.testing.assert_close(colors.remove_green_magenta(gray), gray)
