"""Inputs and outputs of a generative method beside the images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import MUTED, head, image_grid, plain, sheet_of, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_reconstructions"]

_GAP = 0.18  # width of the gap before a group of columns, in images


def draw_reconstructions(
    images: Tensor,
    shown: Tensor,
    outputs: Tensor,
    *,
    pairs: int = 2,
    title: str = "Reconstructions",
    labels: Sequence[str] | None = None,
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """For each image: what the network was shown, what it made of it, and the image itself; several side by side.

    Args:
        images: ``(N, C, H, W)`` uint8 or float in [0, 1].
        shown: ``(N, C, H, W)``, the network's input: masked, gray, noisy, ...
        outputs: ``(N, C, H, W)``, what it made of it.
        pairs: images beside each other.
        title: above the sheet.
        labels: what stands below each image.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: if there are not equally many of each.

    Example:
        >>> import torch
        >>> x = torch.rand(3, 3, 8, 8)
        >>> len(draw_reconstructions(x, x, x).axes)
        9
    """
    if not len(images) == len(shown) == len(outputs) or not len(images):
        raise UsageError(
            f"a sheet of reconstructions takes equally many images, inputs and outputs, got {len(images)}, "
            f"{len(shown)} and {len(outputs)}."
        )
    pairs = min(pairs, len(images))
    widths = ([1.0, 1.0, 1.0, _GAP] * pairs)[:-1]
    (images, shown, outputs), note = sheet_of(images, shown, outputs, color_channels=color_channels, stretch=stretch)
    rows, below = -(-len(images) // pairs), 0.16 if labels else 0.0
    figure, grid = image_grid(rows, widths, title=title, note=note, label_height=below, header=0.8)
    for number in range(len(images)):
        row, pair = divmod(number, pairs)
        for column, (name, sheet) in enumerate((("input", shown), ("output", outputs), ("image", images))):
            axes = figure.add_subplot(grid[row, 4 * pair + column])
            show_image(axes, sheet[number])
            if row == 0:
                head(axes, name)
            if labels and column == 1:
                common: dict[str, Any] = {
                    "transform": axes.transAxes,
                    "ha": "center",
                    "va": "top",
                    "fontsize": 7.5,
                    "color": MUTED,
                }
                axes.text(0.5, -0.05, plain(labels[number]), **common)
    return figure
