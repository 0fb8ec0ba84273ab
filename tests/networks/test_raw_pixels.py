"""Images as features."""

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
