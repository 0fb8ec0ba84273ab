"""Neighboring cells of a grid, and the direction from one to the other."""

import torch
from torch import Tensor

__all__ = ["DIRECTIONS", "relative_pairs"]

DIRECTIONS = ("up left", "up", "up right", "left", "right", "down left", "down", "down right")
"""The labels 0 to 7: the position of the second patch as seen from the first, row by row."""


def relative_pairs(rows: int, columns: int) -> Tensor:
    """All ordered pairs of adjacent cells of a grid ``(P, 3)``: first, second, and the label of :data:`DIRECTIONS`.

    Cells are counted row by row. Both orders of two cells are there, and the classes are not equally many: of the 40
    pairs of 3x3 cells, 6 are of each straight direction and 4 of each diagonal one.

    Example:
        >>> relative_pairs(1, 2).tolist()  # the second is to the right, and the other way round
        [[0, 1, 4], [1, 0, 3]]
    """
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    pairs = [
        (row * columns + column, (row + down) * columns + column + right, label)
        for row in range(rows)
        for column in range(columns)
        for label, (down, right) in enumerate(steps)
        if 0 <= row + down < rows and 0 <= column + right < columns
    ]
    return torch.tensor(sorted(pairs), device="cpu")
