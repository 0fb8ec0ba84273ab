"""One look for all pictures: sizes, colors that color-blind readers tell apart, and saving."""

import hashlib
import io
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import read_regular, whole_file
from sslbolts.transforms.levels import as_levels, pixels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

__all__ = [
    "COLORS",
    "INK",
    "MUTED",
    "channels_in_words",
    "digest_of",
    "free_picture",
    "head",
    "head_lines",
    "header_height",
    "image_grid",
    "new_figure",
    "plain",
    "save",
    "sheet_of",
    "show_image",
    "shown_channels",
    "thumbnails",
    "tidy",
    "write_on",
]

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colors: blue, orange, green, purple, sky, vermilion."""
INK = "#222222"
MUTED = "#777777"
_DIGEST = "sslbolts"  # a text in a PNG
_THUMBNAIL = 96  # pixels: as large as an image of a sheet is drawn
_LETTERS_PER_INCH = 17  # of a note
_LETTERS_PER_IMAGE = 16  # of the description of columns
_LINE_POINTS = 10.5  # of it
_TITLE_LETTERS_PER_INCH = 8.5


def new_figure(width: float, height: float) -> "Figure":
    """A figure of ``width`` x ``height`` inches that belongs to nobody else: no pyplot, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def plain(text: str) -> str:
    r"""A text as a figure shows it letter by letter: no dollar sign begins a formula, and every letter can be written.

    Example:
        >>> print(plain("$x^{$"))
        \$x^{\$
    """
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def tidy(axes: "Axes", *, title: str, xlabel: str, ylabel: str) -> None:
    """Title, axis labels with units, a light grid and no box."""
    axes.set_title(plain(title), loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel(plain(xlabel), color=MUTED)
    axes.set_ylabel(plain(ylabel), color=MUTED)
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
    common: dict[str, Any] = {"ha": "left", "fontsize": 13, "color": INK, "fontweight": "bold"}
    figure.suptitle(plain(title), x=left, y=1 - 0.1 / height, va="top", **common)
    if note:
        figure.text(left, 0.1 / height, plain("\n".join(lines)), ha="left", va="bottom", fontsize=8.5, color=MUTED)
    return figure, grid


def head(axes: "Axes", name: str, description: str = "", *, columns: int | None = None) -> None:
    """Name and describe the group of columns that begins with ``axes``; None for as many as the description needs."""
    common: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    lines = head_lines(description, columns)
    above = _LINE_POINTS * max(0, len(lines) - 2)
    axes.annotate(
        plain(name), (0, 1), (0, 25 + above if description else 9), fontsize=10, fontweight="bold", color=INK, **common
    )
    text, place = plain("\n".join(lines)), (0, 23 + above)
    axes.annotate(text, (0, 1), place, fontsize=7.5, color=MUTED, va="top", linespacing=1.25, **common)


def head_lines(description: str, columns: int | None) -> list[str]:
    """Lines of a description above so many columns of images; None leaves them as they are."""
    lines = description.split("\n")
    if columns is None:
        return lines
    return [part for line in lines for part in textwrap.wrap(line, _LETTERS_PER_IMAGE * columns) or [""]]


def header_height(lines: int) -> float:
    """Room for the title and for heads whose descriptions have so many lines, inches; see :func:`image_grid`."""
    return 1.0 + _LINE_POINTS / 72 * max(0, lines - 2)


def show_image(axes: "Axes", image: Tensor) -> None:
    """Draw an image ``(C, H, W)``, uint8, uint16 or float in [0, 1], without axes; of many channels the first three."""
    pixels = shown_channels(image.cpu())
    if pixels.dtype == torch.uint16:
        pixels = pixels_of(pixels)
    array = (pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).numpy()
    smooth = "nearest" if max(image.shape[-2:]) <= 64 else "antialiased"
    axes.imshow(array, cmap="gray", vmin=0, vmax=1 if pixels.is_floating_point() else 255, interpolation=smooth)
    axes.set_axis_off()


def shown_channels(images: Tensor, color_channels: Sequence[int] | None = None) -> Tensor:
    """The channels of images ``(..., C, H, W)`` that a picture shows: three, or one as gray.

    Args:
        images: of any number of channels.
        color_channels: red, green and blue, or the one that is shown; None, or none, is the first three, or the first
            of fewer.

    Example:
        >>> shown_channels(torch.zeros(2, 13, 8, 8), (3, 2, 1)).shape, shown_channels(torch.zeros(2, 8, 8)).shape
        (torch.Size([2, 3, 8, 8]), torch.Size([1, 8, 8]))
    """
    channels = images.shape[-3]
    if color_channels:
        return torch.stack([images[..., channel, :, :] for channel in color_channels], -3)
    return images[..., : 3 if channels >= 3 else 1, :, :]


def channels_in_words(channels: int, color_channels: Sequence[int] | None = None) -> str:
    """Which channels a picture shows of images that have others as well; empty for those that are shown whole.

    Args:
        channels: of the images.
        color_channels: as of :func:`shown_channels`.

    Example:
        >>> channels_in_words(13, (3, 2, 1)), channels_in_words(2), channels_in_words(3)
        ('Channels 3, 2, 1 of 13 as red, green, blue.', 'Channel 0 of 2 as gray.', '')
    """
    shown = [*(color_channels or range(3 if channels >= 3 else 1))]
    if channels in (1, 3) and sorted(shown) == [*range(channels)]:
        return ""
    if len(shown) == 1:
        return f"Channel {shown[0]} of {channels} as gray."
    return f"Channels {', '.join(map(str, shown))} of {channels} as red, green, blue."


def sheet_of(
    *groups: Tensor, color_channels: Sequence[int] | None = None, stretch: bool = False
) -> tuple[list[Tensor], str]:
    """The images of a sheet as it shows them, and a sentence on that, which is empty where they are as they are.

    Args:
        groups: ``(..., C, H, W)``, uint8 or float in [0, 1]; those of other channels than the first stay as they are.
        color_channels: as of :func:`shown_channels`; those of other images than these have no part.
        stretch: show each channel from the 2nd to the 98th percentile of all images of the sheet, for images whose
            values fill little of their range.

    Returns:
        groups ``(..., c, H, W)``, `c` of 3 or 1; uint8 unless they are stretched.

    Example:
        >>> (shown,), words = sheet_of(torch.rand(2, 5, 8, 8), color_channels=(2, 1, 0))
        >>> tuple(shown.shape), words
        ((2, 3, 8, 8), 'Channels 2, 1, 0 of 5 as red, green, blue.')
    """
    channels = groups[0].shape[-3]
    if any(not 0 <= channel < channels for channel in color_channels or ()):
        color_channels = None
    shown = [shown_channels(g.cpu(), color_channels if g.shape[-3] == channels else None) for g in groups]
    words = channels_in_words(channels, color_channels)
    if not stretch:
        return shown, words
    pixels = [g if g.is_floating_point() else g.float() / 255 for g in shown]
    count = pixels[0].shape[-3]
    alike = [g.movedim(-3, 0).reshape(count, -1) for g in pixels if g.shape[-3] == count]
    sample = torch.cat([g[:, :: max(1, g.shape[1] // 100_000)] for g in alike], 1)
    low, high = (torch.quantile(sample, part, 1)[:, None, None] for part in (0.02, 0.98))
    stretched = [((g - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) if g.shape[-3] == count else g for g in pixels]
    said = "Each channel from the 2nd to the 98th percentile of the sheet's images."
    return stretched, f"{words} {said}".strip()


def write_on(axes: "Axes", text: str) -> None:
    """Write a short text into the lower left corner of an image, readable on any colors."""
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "left", "va": "bottom"}
    axes.text(0.03, 0.03, plain(text), fontsize=7, color=INK, bbox=box, **place)


def thumbnails(images: Tensor) -> Tensor:
    """Images ``(N, C, H, W)``, uint8 or uint16, as uint8, averaged down to at most 96 pixels on the longer side.

    Example:
        >>> thumbnails(torch.zeros(1, 3, 128, 192, dtype=torch.uint8)).shape
        torch.Size([1, 3, 64, 96])
    """
    if images.dtype == torch.uint16:
        images = as_levels(pixels_of(images), torch.uint8)
    if max(images.shape[2:]) <= _THUMBNAIL:
        return images
    scale = _THUMBNAIL / max(images.shape[2:])
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    return F.interpolate(images.float(), size=size, mode="area").round().to(torch.uint8)


def digest_of(*parts: Any) -> str:
    """Eight hexadecimal digits of what a picture depends on: numbers, words, and lists and mappings of them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:8]


def free_picture(path: str | Path, digest: str) -> Path:
    """The path; or, where a picture of anything else is kept there, one beside it.

    Args:
        path: where it would go, ending in ``.png``.
        digest: :func:`digest_of` what it depends on, as :func:`save` wrote it into the file.
    """
    path = Path(path)
    try:
        with Image.open(io.BytesIO(read_regular(path)), formats=("PNG",)) as kept:
            same = kept.info.get(_DIGEST) == digest
    except FileNotFoundError:
        same = True
    except (OSError, ValueError, SyntaxError):
        same = False
    return path if same else path.with_name(f"{path.stem}-{digest}{path.suffix}")


def save(figure: "Figure", path: str | Path, *, digest: str | None = None, **options: Any) -> Path:
    """Write a figure, whole or not at all; the file's ending says the format. Makes the folder.

    Args:
        figure: the figure.
        path: of the file.
        digest: of what it depends on, kept in the file, which is a PNG then.
        **options: of matplotlib's ``savefig``.

    Raises:
        UsageError: names the file, if it cannot be written.
    """
    if digest is not None:
        options["metadata"] = {_DIGEST: digest}
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=options.pop("dpi", 130), **options)
    return Path(path)
