"""Images whose pixels say where they are, and patches that are read back."""

import torch
from torch import Tensor


def coordinates(count: int, side: int) -> Tensor:
    """``(count, 3, side, side)``: the row of a pixel, its column, and the number of its image."""
    line = torch.arange(float(side))
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    numbers = torch.arange(float(count))[:, None, None].expand(count, side, side)
    return torch.stack([rows.expand_as(numbers), columns.expand_as(numbers), numbers], 1)


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
