import numpy as np
import pytest
import torch
from PIL import Image

from sslbolts.transforms.halving import FILTERS, halved

OF_PIL = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("size", [(16, 16), (20, 14), (4, 2)])
def test_each_image_is_halved_by_its_own_filter_as_pil_does_it(size):
    assert set(FILTERS) == set(OF_PIL)
    filters = torch.tensor([2, 0, 3, 1, 3])
    images = torch.rand(5, 3, *size)
    found = halved(images, filters)
    for image, number, small in zip(images, filters.tolist(), found):
        for channel, expected in zip(image, small):
            by_pil = Image.fromarray(channel.numpy()).resize((size[1] // 2, size[0] // 2), OF_PIL[FILTERS[number]])
            torch.testing.assert_close(expected, torch.from_numpy(np.array(by_pil)), rtol=1e-5, atol=1e-5)


def test_a_uniform_image_stays_uniform():
    images = torch.full((4, 3, 12, 12), 0.7, dtype=torch.float64)
    assert (halved(images, torch.arange(4)) - 0.7).abs().max() < 1e-12


def test_half_precision_around_it_changes_nothing():
    images, filters = torch.rand(4, 3, 8, 8), torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(halved(images, filters), halved(images, filters).float())
        found = halved(images, filters)
    assert torch.equal(found, halved(images, filters))
