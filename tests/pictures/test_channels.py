"""Sheets of images of any number of channels, and of 16 bits."""

import numpy as np
import pytest
import torch

from sslbolts.pictures.attention import draw_attention
from sslbolts.pictures.augmentations import describe_view, draw_augmentations, draw_views
from sslbolts.pictures.clusters import draw_clusters
from sslbolts.pictures.duplicates import draw_duplicates
from sslbolts.pictures.neighbors import draw_neighbors
from sslbolts.pictures.reconstructions import draw_reconstructions
from sslbolts.pictures.style import sheet_of, shown_channels
from sslbolts.transforms import MultiView, TransformsView, View

VIEWS = MultiView((View(16, jitter=(0.4, 0.4, 0.0, 0.0), vertical_flip=0.5, noise_p=0.5),))


@pytest.mark.parametrize(("channels", "given", "shown"), [(1, None, [0]), (2, None, [0]), (5, None, [0, 1, 2])])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_the_first_channels_are_shown(channels, given, shown, dtype):
    images = torch.randint(0, 256, (2, channels, 16, 16)).to(dtype)
    figure = draw_augmentations(images, VIEWS, draws=2, color_channels=given)
    drawn = np.asarray(figure.axes[0].images[0].get_array(), np.float64).reshape(16, 16, -1)
    expected = images.float()[0, shown].permute(1, 2, 0).numpy().astype(np.float64)
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
    said = " ".join(text.get_text().replace("\n", " ") for text in figure.axes[0].texts)
    assert "16 x 16 channels 9, 0, 4 of 13 as red, green, blue" in said


def test_a_view_says_all_that_is_done():
    said = describe_view(View(32, vertical_flip=0.5, quarter_turns=0.75, rotation=10, noise_p=0.2, erase_p=0.1))
    for words in ("vertical flip 50 %", "quarter turn 75 %", "turn by up to 10 degrees", "noise 20 %", "erase 10 %"):
        assert words in said
    assert "float" in describe_view(TransformsView(8, transforms=[torch.Tensor.float]))


def test_sheets_show_the_declared_colors_and_say_which():
    images = torch.randint(0, 100, (4, 5, 16, 16), dtype=torch.uint8)
    labels = torch.tensor([0, 0, 1, 1])
    rows = {"net": torch.tensor([[1], [0]])}
    figure = draw_neighbors(images[:2], labels[:2], images, labels, rows, color_channels=[3, 2, 0])
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(drawn, images[0, [3, 2, 0]].permute(1, 2, 0).numpy())
    figures = [
        figure,
        draw_clusters(images, torch.rand(4, 3), labels, labels, columns=2, color_channels=[3, 2, 0]),
        draw_duplicates([(images[0], images[1])], [("a", "b")], [1.0], color_channels=[3, 2, 0]),
        draw_attention(images[:1], torch.rand(1, 2, 4, 4), color_channels=[3, 2, 0]),
        draw_reconstructions(images, images / 255, images, color_channels=[3, 2, 0]),
        draw_views([images / 255], color_channels=[3, 2, 0]),
    ]
    for number, each in enumerate(figures):
        said = " ".join(text.get_text() for text in each.texts).replace("\n", " ")
        assert "Channels 3, 2, 0 of 5 as red, green, blue." in said, number


def test_deep_images_of_a_sheet_are_stretched_alike():
    images = torch.randint(20, 60, (6, 2, 16, 16), dtype=torch.uint8)
    images[5] += 60
    (shown, other), words = sheet_of(images, torch.zeros(1, 3, 16, 16), stretch=True)
    flat = images[:, 0].float().flatten() / 255
    low, high = np.quantile(flat, [0.02, 0.98])
    expected = ((images[:, :1].float() / 255 - low) / (high - low)).clamp(0, 1)
    torch.testing.assert_close(shown, expected.float(), atol=1e-5, rtol=0)
    assert words.startswith("Channel 0 of 2 as gray. Each channel from the 2nd to the 98th percentile")
    assert torch.equal(other, torch.zeros(1, 3, 16, 16)), "images of other channels stay as they are"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_are_shown_whole_need_no_words(channels):
    images = torch.randint(0, 256, (2, channels, 8, 8), dtype=torch.uint8)
    (shown,), words = sheet_of(images, color_channels=[7, 8, 9])  # of other images
    assert words == ""
    assert torch.equal(shown, images)
