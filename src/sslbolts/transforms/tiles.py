"""Tiles of images, cut for a whole batch at once: a grid of cells, and in each cell a tile at a random place."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sslbolts.checks import whole
from sslbolts.errors import UsageError

__all__ = ["TileGrid", "cut_tiles"]


@dataclass(frozen=True)
class TileGrid:
    """A square grid of cells, and where in its cell a tile can be. Tiles are counted row by row.

    Args:
        grid: rows and columns.
        tile_size: side of a tile, pixels.
        cell_size: side of a cell, pixels. Two neighbors are apart by at least ``cell_size - tile_size - jitter``, on
            average by ``cell_size - tile_size``.
        jitter: pixels by which a tile is moved in its cell, 0 to ``jitter`` down and to the right.
        channel_shift: pixels by which every channel of a tile is moved further on its own, 0 to so many.

    Raises:
        UsageError: for a tile that does not fit into its cell.

    Source: Doersch et al., Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015,
    arXiv:1505.05192: gaps and jitter.

    Example:
        >>> TileGrid(grid=3, tile_size=64, cell_size=85, jitter=21).span
        255
    """

    grid: int
    tile_size: int
    cell_size: int
    jitter: int = 0
    channel_shift: int = 0

    def __post_init__(self) -> None:
        whole(grid=self.grid, tile_size=self.tile_size, cell_size=self.cell_size)
        whole(0, jitter=self.jitter, channel_shift=self.channel_shift)
        if self.tile_size + self.moved > self.cell_size:
            shift = f", its channels by {self.channel_shift} more" if self.channel_shift else ""
            raise UsageError(
                f"a tile of {self.tile_size} pixels that is moved by up to jitter={self.jitter}{shift}, does not fit "
                f"into cells of cell_size={self.cell_size}: give smaller tiles, less jitter or larger cells."
            )

    @classmethod
    def fitting(cls, side: int, grid: int = 3) -> Self:
        """The grid of images of ``side`` pixels: tiles of three quarters of their cells, and all the jitter there is.

        Example:
            >>> TileGrid.fitting(255)
            TileGrid(grid=3, tile_size=64, cell_size=85, jitter=21, channel_shift=0)
        """
        cell = side // grid
        tile = max(1, round(0.75 * cell))
        return cls(grid, tile, cell, cell - tile)

    @property
    def tiles(self) -> int:
        """Their number, `T`."""
        return self.grid**2

    @property
    def moved(self) -> int:
        """Pixels by which a channel of a tile is moved in its cell at most."""
        return self.jitter + self.channel_shift

    @property
    def span(self) -> int:
        """Pixels that the grid takes of a side of an image."""
        return (self.grid - 1) * self.cell_size + self.tile_size + self.moved

    def room(self, side: int) -> int:
        """Pixels by which the whole grid can be moved on an image of ``side`` pixels.

        Raises:
            UsageError: for an image that is too small.
        """
        if side < self.span:
            raise UsageError(
                f"{self.grid}x{self.grid} tiles of {self.tile_size} pixels in cells of {self.cell_size} take "
                f"{self.span} pixels, with what they are moved, and the images have {side}: give smaller tiles "
                "and cells, or the DataModule a larger image_size."
            )
        return max(0, side - self.grid * self.cell_size)

    def corners(self, offsets: Tensor, origin: Tensor | None = None) -> Tensor:
        """Upper left corners ``(T, B, 2)`` of the tiles, as row and column.

        Args:
            offsets: ``(T, B, 2)``, of each tile in its cell.
            origin: ``(B, 2)``, of the grid in the image; None is the upper left corner.
        """
        cell = torch.arange(self.tiles, device=offsets.device)
        cells = torch.stack([cell // self.grid, cell % self.grid], 1) * self.cell_size  # (T, 2)
        corners = cells[:, None] + offsets
        return corners if origin is None else corners + origin


def cut_tiles(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Squares of ``size`` pixels, each copied out of its image by one operation for all of them.

    Args:
        images: ``(B, C, H, W)``.
        corners: ``(T, B, 2)`` whole numbers, row and column of the upper left corner of each tile; or ``(T, B, C, 2)``,
            with a corner of its own for each channel, which moves the colors of a tile against each other.
        size: side of a tile, pixels.

    Returns:
        ``(T, B, C, size, size)``.

    Example:
        >>> images = torch.arange(16.0).view(1, 1, 4, 4)
        >>> cut_tiles(images, torch.tensor([[[0, 0]], [[2, 1]]]), 2).flatten(1)
        tensor([[ 0.,  1.,  4.,  5.],
                [ 9., 10., 13., 14.]])
    """
    if corners.dim() == 3:
        corners = corners.unsqueeze(2)  # (T, B, 1 or C, 2)
    inner = torch.arange(size, device=images.device)
    rows = (corners[..., 0, None] + inner)[..., :, None]  # (T, B, 1 or C, size, 1)
    columns = (corners[..., 1, None] + inner)[..., None, :]  # (T, B, 1 or C, 1, size)
    image = torch.arange(images.shape[0], device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[:, None, None]
    return images[image, channel, rows, columns]
