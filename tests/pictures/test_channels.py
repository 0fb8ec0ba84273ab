"""Sheets of images of any number of channels, and of 16 bits."""

import numpy as np
import pytest
import torch

from sslbolts.pictures.augmentations import describe_view, draw_augmentations
from sslbolts.pictures.style import shown_channels
from sslbolts.transforms import MultiView, TransformsView, View

VIEWS = MultiView((View(16, jitter=(0.4, 0.4, 0.0, 0.0), vertical_flip=0.5, noise_p=0.5),))


@pytest.mark.parametrize(("channels", "given", "shown"), [(1, None, [0]), (2, None, [0]), (5, None, [0, 1, 2])])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_the_first_channels_are_shown(channels, given, shown, dtype):
    images = torch.randint(0, 256, (2, channels, 16, 16)).to(dtype)
    figure = draw_augmentations(images, VIEWS, draws=2, color_channels=given)
    drawn = np.asarray(figure.axes[0].images[0].get_array(), np.float64).reshape(16, 16, -1)
    expected = images[0, shown].float().permute(1, 2, 0).numpy().astype(np.float64)
    if dtype == torch.uint16:
        low, high = np.quantile(expected, [0.02, 0.98], axis=(0, 1))
        expected = ((expected - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(drawn, expected, atol=2e-3)


def test_declared_colors_are_shown_in_their_order():
    image = torch.rand(13, 4, 4)
    assert torch.equal(shown_channels(image, (3, 2, 1)), image[[3, 2, 1]])
    figure = draw_augmentations(
        torch.randint(0, 256, (1, 13, 16, 16), dtype=torch.uint8), VIEWS, color_channels=(9, 0, 4)
    )
    assert any("of 13 channels" in text.get_text() for text in figure.axes[0].texts)


def test_a_view_says_all_that_is_done():
    said = describe_view(View(32, vertical_flip=0.5, quarter_turns=0.75, rotation=10, noise_p=0.2, erase_p=0.1))
    for words in ("vertical flip 50 %", "quarter turn 75 %", "turn by up to 10 degrees", "noise 20 %", "erase 10 %"):
        assert words in said
    assert "float" in describe_view(TransformsView(8, transforms=[torch.Tensor.float]))
