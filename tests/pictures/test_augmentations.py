"""The sheet of augmentations shows the images and the views of the recipe."""

import pytest
import torch
from matplotlib.text import Text

from sslbolts import UsageError
from sslbolts.pictures.augmentations import draw_augmentations
from sslbolts.transforms import MultiView, View, recipe

NOTHING = View(
    32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=(0, 0, 0, 0), jitter_p=0.0, grayscale_p=0.0, blur_p=0.0
)


def images(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8)


def shown(figure) -> list[torch.Tensor]:
    return [torch.as_tensor(axes.images[0].get_array().data.copy()) for axes in figure.axes]


def test_a_view_that_does_nothing_shows_the_image_again():
    figure = draw_augmentations(images(1), MultiView((NOTHING, NOTHING)), draws=2)
    original, *draws = shown(figure)
    assert len(draws) == 2  # the two equal views are one group
    for draw in draws:
        torch.testing.assert_close(draw, original.float() / 255)


def test_every_draw_is_another():
    pictures = shown(draw_augmentations(images(2), recipe("byol", 32), draws=3))
    assert len(pictures) == 2 * (1 + 2 * 3)
    draws = [picture for picture in pictures if picture.is_floating_point()]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)
    assert all(draw.min() >= 0 and draw.max() <= 1 for draw in draws)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_sizes_may_differ(channels):
    sheet = [images(1, channels, 40)[0], images(1, channels, 64)[0]]
    view = View(24, scale=(0.5, 1.0))
    assert len(draw_augmentations(sheet, MultiView((view,)), draws=1).axes) == 4


def test_one_seed_one_sheet():
    same = images(1)
    first, second = (shown(draw_augmentations(same, recipe("swav", 32), draws=2, seed=3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_the_heads_name_the_views():
    figure = draw_augmentations(images(1), recipe("swav", 32), draws=1)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "views 1 and 2" in words
    assert "views 3 to 8" in words


def test_drawing_leaves_no_global_state():
    draw_augmentations(images(1), recipe("byol", 32), draws=1)
    import matplotlib._pylab_helpers

    assert not matplotlib._pylab_helpers.Gcf.figs


def test_an_empty_sheet_is_refused():
    with pytest.raises(UsageError, match="empty"):
        draw_augmentations(images(0), recipe("byol", 32))


def test_what_the_method_makes_of_the_first_view_stands_beside_it_with_its_labels():
    def halves(views, generator):
        drawn = torch.rand(len(views), generator=generator)
        return [(views[..., :8], [f"left {number:.3f}" for number in drawn]), (views[..., 8:], ["right"] * len(views))]

    figure = draw_augmentations(images(2), MultiView((View(16),)), draws=2, seed=5, examples=halves)
    rows = [shown(figure)[row * 5 : row * 5 + 5] for row in range(2)]
    for _, first, _, left, right in rows:
        assert torch.equal(torch.cat([left, right], 1), first)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    numbers = torch.rand(2, generator=torch.Generator().manual_seed(5))
    for row in range(2):
        assert f"left {numbers[row]:.3f}" in texts[row * 5 + 3]
        assert "right" in texts[row * 5 + 4]
    assert "shown" in texts[3]


@pytest.mark.parametrize("draws", [1, 2, 4])
def test_descriptions_stay_above_their_columns_and_below_the_title(draws):
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    figure = draw_augmentations(images, recipe("dino", 32), draws=draws, title="dino")
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    descriptions = [text.get_window_extent() for text in texts if text.get_fontsize() < 10]
    names = [text.get_window_extent() for text in texts if text.get_fontsize() == 10]
    (title,) = [text.get_window_extent() for text in texts if text.get_fontsize() > 10]
    assert len(descriptions) == len(names) == 4  # of the image and of three kinds of views
    for number, box in enumerate(descriptions):
        assert not any(box.overlaps(other) for other in descriptions[number + 1 :])
        assert box.y1 < title.y0
    assert all(box.y1 < title.y0 for box in names)
