"""Pairs of images beside each other, with how similar they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import INK, image_grid, plain, sheet_of, show_image, write_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_duplicates"]

_PAIRS_PER_ROW = 3
_GAP = 0.3  # between two pairs, in images
_LETTERS = 16  # of a name below an image


def draw_duplicates(
    pairs: Sequence[tuple[Tensor, Tensor]],
    names: Sequence[tuple[str, str]],
    similarity: Sequence[float],
    *,
    title: str = "Near-duplicates",
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """Three pairs in a row: two images with their names below, and their similarity written on the first.

    Args:
        pairs: images ``(C, H, W)`` uint8.
        names: of both; the end of a long one is shown.
        similarity: of each pair, at most 1.
        title: above the sheet.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: without pairs, or for other numbers of names.

    Example:
        >>> import torch
        >>> gray = torch.zeros(3, 8, 8, dtype=torch.uint8)
        >>> len(draw_duplicates([(gray, gray)], [("a.png", "b.png")], [1.0]).axes)
        2
    """
    if not pairs or not len(pairs) == len(names) == len(similarity):
        raise UsageError(f"{len(pairs)} pairs, {len(names)} names and {len(similarity)} numbers: give as many of each.")
    across = min(_PAIRS_PER_ROW, len(pairs))
    widths = [1.0, 1.0] + [_GAP, 1.0, 1.0] * (across - 1)
    flat = [image for pair in pairs for image in pair]
    shown, note = sheet_of(*flat, color_channels=color_channels, stretch=stretch)
    rows = -(-len(pairs) // across)
    figure, grid = image_grid(rows, widths, title=title, note=note, label_height=0.22, header=0.5)
    for place, (names_of_pair, value) in enumerate(zip(names, similarity)):
        row, column = divmod(place, across)
        for side in range(2):
            axes = figure.add_subplot(grid[row, 3 * column + side])
            show_image(axes, shown[2 * place + side])
            name = names_of_pair[side]
            below = name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
            axes.text(0.5, -0.04, plain(below), transform=axes.transAxes, ha="center", va="top", fontsize=7, color=INK)
            if side == 0:
                write_on(axes, f"{value:.4f}")
    return figure
