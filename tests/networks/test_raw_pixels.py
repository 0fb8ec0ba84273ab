"""Images as features."""

import pytest
import torch

from sslbolts.networks.raw_pixels import raw_pixels


def test_large_images_are_averaged_down():
    images = torch.randn(5, 3, 64, 80)
    assert raw_pixels(images).shape == (5, 3 * 32 * 32)
    halves = raw_pixels(images[..., :64]).view(5, 3, 32, 32)
    quarters = [images[..., row:64:2, column:64:2] for row in (0, 1) for column in (0, 1)]
    torch.testing.assert_close(halves, torch.stack(quarters).mean(0))


def test_small_images_stay_as_they_are():
    images = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    assert torch.equal(raw_pixels(images), images.flatten(1).float())


@pytest.mark.parametrize(
    "shape", [(1, 64, 64, 64), (40, 64, 64), (2, 50_000), (50_000,), (5000, 8, 8), (2, 3, 4, 64, 64)]
)
def test_volumes_signals_and_many_channels_are_few_values_too(shape):
    x = torch.arange(2.0)[:, None].expand(2, torch.Size(shape).numel()).reshape(2, *shape)
    found = raw_pixels(x, side=16)
    assert found.shape[1] <= 1024
    torch.testing.assert_close(found.mean(1), torch.arange(2.0))


def test_a_volume_is_averaged_in_blocks():
    volumes = torch.randn(3, 1, 32, 32, 32)
    blocks = volumes.view(3, 16, 2, 16, 2, 16, 2).mean((2, 4, 6))
    torch.testing.assert_close(raw_pixels(volumes, side=32), blocks.flatten(1))
