"""Random places of tiles, the same for an image on any number of ranks."""

import torch
from torch import Tensor

from sslbolts.training.shared_draws import integers
from sslbolts.transforms.tiles import TileGrid

__all__ = ["draw_corners"]


def draw_corners(grid: TileGrid, images: Tensor, generator: torch.Generator) -> Tensor:
    """Corners of the tiles of images ``(B, C, H, W)``: the grid at a random place, and each tile in its cell.

    Returns:
        ``(T, B, 2)``, row and column; ``(T, B, C, 2)`` where every channel is moved on its own.
    """
    count, channels = images.shape[:2]
    rows, columns = (integers(count, below=grid.room(side) + 1, generator=generator) for side in images.shape[-2:])
    offsets = integers(grid.tiles, count, 2, below=grid.jitter + 1, generator=generator, images=1)
    corners = grid.corners(offsets, torch.stack([rows, columns], 1))
    if not grid.channel_shift:
        return corners
    shifts = integers(grid.tiles, count, channels, 2, below=grid.channel_shift + 1, generator=generator, images=1)
    return corners[:, :, None] + shifts
