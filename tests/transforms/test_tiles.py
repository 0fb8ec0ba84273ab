"""Tiles against loops over single images, and grids that do not fit."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.transforms.tiles import TileGrid, cut_tiles


def test_tiles_are_those_of_a_loop_over_images_and_channels():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 20, 17, generator=generator)
    corners = torch.randint(0, 12, (4, 3, 2, 2), generator=generator)
    found = cut_tiles(images, corners, 5)
    assert found.shape == (4, 3, 2, 5, 5)
    for tile in range(4):
        for image in range(3):
            for channel in range(2):
                top, left = corners[tile, image, channel].tolist()
                expected = images[image, channel, top : top + 5, left : left + 5]
                assert torch.equal(found[tile, image, channel], expected)
    assert torch.equal(cut_tiles(images, corners[:, :, :1], 5), cut_tiles(images, corners[:, :, 0], 5))


def test_corners_count_cells_row_by_row():
    grid = TileGrid(3, 8, 10, 2)
    corners = grid.corners(torch.zeros(9, 1, 2, dtype=torch.int64), torch.tensor([[1, 2]]))
    assert corners[:, 0].tolist() == [[10 * row + 1, 10 * column + 2] for row in range(3) for column in range(3)]


@pytest.mark.parametrize(("side", "tile", "jitter"), [(255, 64, 21), (32, 8, 2)])
def test_the_grid_of_a_size_is_that_of_the_papers(side, tile, jitter):
    assert TileGrid.fitting(side) == TileGrid(3, tile, side // 3, jitter)


def test_room_is_what_whole_cells_leave():
    assert [TileGrid(3, 64, 85, 21).room(side) for side in (255, 260)] == [0, 5]
    assert TileGrid(3, 64, 85, 0).room(234) == 0  # the last tiles end within their cells


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 11, 10), r"11 pixels that is moved by up to jitter=0, does not fit into cells of cell_size=10"),
        ((3, 8, 10, 3), "jitter=3, does not fit"),
        ((3, 8, 10, 1, 2), "jitter=1, its channels by 2 more, does not fit"),
        ((0, 8, 10), "grid=0"),
        ((3, 8, 10, -1), "jitter=-1"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        TileGrid(*arguments)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(UsageError, match="take 30 pixels, with what they are moved, and the images have 29"):
        TileGrid(3, 8, 10, 2).room(29)
