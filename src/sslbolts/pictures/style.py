"""One look for all pictures: sizes, colors that color-blind readers tell apart, and saving."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

__all__ = ["COLORS", "INK", "MUTED", "head", "image_grid", "new_figure", "save", "show_image", "thumbnails", "tidy"]

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colors: blue, orange, green, purple, sky, vermilion."""
INK = "#222222"
MUTED = "#777777"
_THUMBNAIL = 96  # pixels: as large as an image of a sheet is drawn
_LETTERS_PER_INCH = 17  # of a note
_TITLE_LETTERS_PER_INCH = 8.5


def new_figure(width: float, height: float) -> "Figure":
    """A figure of ``width`` x ``height`` inches that belongs to nobody else: no pyplot, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes: "Axes", *, title: str, xlabel: str, ylabel: str) -> None:
    """Title, axis labels with units, a light grid and no box."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel(xlabel, color=MUTED)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")


def image_grid(
    rows: int,
    widths: Sequence[float],
    *,
    title: str,
    note: str = "",
    label_height: float = 0.0,
    header: float = 1.0,
) -> tuple["Figure", "GridSpec"]:
    """A sheet of equal square images with room for heads above its columns.

    Args:
        rows: rows of images.
        widths: of the columns, in images: 1 for an image, less for a gap.
        title: above the sheet; broken into lines of its width.
        note: below the sheet; broken into lines of its width.
        label_height: room below each image, inches.
        header: room for the title and the heads of the columns, inches.

    Returns:
        The figure and its grid of ``rows`` x ``len(widths)`` cells.
    """
    cell, margin = 0.92, 0.12
    width = cell * sum(widths) + 2 * margin
    lines = textwrap.wrap(note, round(_LETTERS_PER_INCH * (width - 2 * margin)))
    title = textwrap.fill(title, max(12, round(_TITLE_LETTERS_PER_INCH * (width - 2 * margin))))
    header += 0.24 * title.count("\n")
    footer = 0.22 + 0.145 * len(lines) if note else 0.12
    height = (cell + label_height) * rows + header + footer
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # heads stand over several columns, and must not widen the first
    grid = figure.add_gridspec(
        rows,
        len(widths),
        width_ratios=list(widths),
        left=margin / width,
        right=1 - margin / width,
        bottom=(footer + label_height) / height,
        top=1 - header / height,
        wspace=0.06,
        hspace=0.06 + 1.3 * label_height / cell,
    )
    left = margin / width
    figure.suptitle(title, x=left, y=1 - 0.1 / height, ha="left", va="top", fontsize=13, color=INK, fontweight="bold")
    if note:
        figure.text(left, 0.1 / height, "\n".join(lines), ha="left", va="bottom", fontsize=8.5, color=MUTED)
    return figure, grid


def head(axes: "Axes", name: str, description: str = "") -> None:
    """Name and describe the group of columns that begins with ``axes``."""
    common: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(name, (0, 1), (0, 25 if description else 9), fontsize=10, fontweight="bold", color=INK, **common)
    axes.annotate(description, (0, 1), (0, 23), fontsize=7.5, color=MUTED, va="top", linespacing=1.25, **common)


def show_image(axes: "Axes", image: Tensor) -> None:
    """Draw an image ``(C, H, W)``, uint8 or float in [0, 1], of 1, 3 or 4 channels, without axes."""
    pixels = image[:3].cpu()
    array = (pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).numpy()
    smooth = "nearest" if max(image.shape[-2:]) <= 64 else "antialiased"
    axes.imshow(array, cmap="gray", vmin=0, vmax=1 if image.is_floating_point() else 255, interpolation=smooth)
    axes.set_axis_off()


def thumbnails(images: Tensor) -> Tensor:
    """The same images ``(N, C, H, W)`` uint8, averaged down to at most 96 pixels on the longer side.

    Example:
        >>> thumbnails(torch.zeros(1, 3, 128, 192, dtype=torch.uint8)).shape
        torch.Size([1, 3, 64, 96])
    """
    if max(images.shape[2:]) <= _THUMBNAIL:
        return images
    scale = _THUMBNAIL / max(images.shape[2:])
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    return F.interpolate(images.float(), size=size, mode="area").round().to(torch.uint8)


def save(figure: "Figure", path: str | Path, **options: Any) -> Path:
    """Write a figure; the file's ending says the format. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=options.pop("dpi", 130), **options)
    return path
