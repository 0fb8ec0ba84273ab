"""Attention maps of each head of a vision transformer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.pictures.style import COLORS, head, image_grid, plain, sheet_of, show_image
from sslbolts.readouts.attention import attention_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_attention"]

_GRAY = 0.82  # what lies outside of a mask fades to
_GAP = 0.22  # width of the gap before a group of columns, in images


def draw_attention(
    images: Tensor,
    attention: Tensor,
    *,
    threshold: float = 0.6,
    most_heads: int = 12,
    title: str = "What the class token attends to",
    labels: Sequence[str] | None = None,
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """Two rows per image: maps of the mean over all heads and of each head, and below, the patches that hold most.

    Args:
        images: ``(N, C, H, W)`` uint8 or float in [0, 1].
        attention: ``(N, heads, h, w)`` non-negative weights, as :func:`~sslbolts.networks.attention.class_attention`.
        threshold: share of a head's attention that its mask holds, in [0, 1].
        most_heads: draw at most so many heads.
        title: above the sheet.
        labels: what stands below each image.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: if the tensors do not fit together.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294,
    figures 1 and 3.

    Example:
        >>> figure = draw_attention(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 4, 4))
        >>> len(figure.axes)  # the image, and two rows of the mean and three heads
        9
    """
    if attention.ndim != 4 or len(attention) != len(images) or not len(images):
        raise UsageError(
            f"attention (N, heads, h, w) of {len(images)} images is needed, got shape {tuple(attention.shape)}."
        )
    heads = min(most_heads, attention.shape[1])
    attention = attention.float().cpu()
    maps = torch.cat([attention.mean(1, keepdim=True), attention[:, :heads]], 1)  # (N, 1 + heads, h, w)
    masks = attention_mask(maps.flatten(2), threshold).view_as(maps)
    shown = f"{heads} of {attention.shape[1]} heads" if heads < attention.shape[1] else f"{heads} heads"
    note = (
        f"Upper row: attention to each of the {maps.shape[2]} x {maps.shape[3]} patches, dark for none, bright for the "
        f"most of that map. Lower row: the fewest patches that hold {100 * threshold:g} % of it."
    )
    (images,), words = sheet_of(images, color_channels=color_channels, stretch=stretch)
    note = f"{note} {words}".strip()
    widths = [1.0, _GAP, 1.0, _GAP, *[1.0] * heads]
    figure, grid = image_grid(2 * len(images), widths, title=title, note=note, label_height=0.08, header=0.72)
    for row, image in enumerate(images.cpu()):
        axes = figure.add_subplot(grid[2 * row, 0])
        show_image(axes, image)
        if labels:
            axes.text(0.5, -0.05, plain(labels[row]), transform=axes.transAxes, ha="center", va="top", fontsize=7.5)
        if row == 0:
            head(axes, "image")
        for place in range(1 + heads):
            column = 2 if place == 0 else 3 + place
            upper = figure.add_subplot(grid[2 * row, column])
            upper.imshow(maps[row, place].numpy(), cmap="cividis", vmin=0, interpolation="nearest")
            upper.set_axis_off()
            lower = figure.add_subplot(grid[2 * row + 1, column])
            _show_mask(lower, image, masks[row, place])
            if row == 0 and place < 2:
                head(upper, "mean" if place == 0 else shown)
    return figure


def _show_mask(axes: "Axes", image: Tensor, mask: Tensor) -> None:
    """The image ``(C, H, W)`` with the patches outside of the mask faded to gray, and the border drawn."""
    pixels = image.float() / (1 if image.is_floating_point() else 255)
    height, width = image.shape[-2:]
    kept = F.interpolate(mask[None, None].float(), size=(height, width), mode="nearest")[0]
    show_image(axes, pixels * kept + (1 - kept) * (0.25 * pixels + 0.75 * _GRAY))
    inside = F.pad(mask, (1, 1, 1, 1)).int()
    across, along = height / mask.shape[0], width / mask.shape[1]
    lines = []  # one for each side of a patch that has the mask on one side only
    for row, column in (inside[1:] != inside[:-1]).nonzero().tolist():
        y = row * across - 0.5
        lines.append([((column - 1) * along - 0.5, y), (column * along - 0.5, y)])
    for row, column in (inside[:, 1:] != inside[:, :-1]).nonzero().tolist():
        x = column * along - 0.5
        lines.append([(x, (row - 1) * across - 0.5), (x, row * across - 0.5)])
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(lines, colors=COLORS[5], linewidths=1.3, capstyle="round"))
