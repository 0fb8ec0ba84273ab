"""Views of a recipe, drawn of real images."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import (
    channels_in_words,
    head,
    head_lines,
    header_height,
    image_grid,
    sheet_of,
    show_image,
    shown_channels,
    write_on,
)
from sslbolts.transforms import BatchedAugment, MultiCrop, MultiView, TransformsView, View, random_crops
from sslbolts.transforms.levels import pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Examples", "describe_view", "draw_augmentations", "draw_views"]

Examples = Callable[[Tensor, torch.Generator], Sequence[tuple[Tensor, list[str]]]]
"""Images ``(N, C, H, W)`` in [0, 1] and a generator in, columns of pictures with a text for each out."""

_GAP = 0.22  # width of the gap before a group of columns, in images


def draw_augmentations(
    images: Sequence[Tensor] | Tensor,
    views: MultiView | MultiCrop,
    *,
    draws: int = 4,
    seed: int = 0,
    color: Literal["exact", "linear"] = "exact",
    color_channels: Sequence[int] | None = None,
    title: str = "What the method sees",
    examples: Examples | None = None,
) -> "Figure":
    """One row per image: the image, several draws of each kind of view, and what the method makes of the first.

    Args:
        images: ``(N, C, H, W)``, or ``N`` tensors ``(C, H, W)`` of any sizes, uint8 or uint16; of the latter, image and
            views are shown between the 2nd and the 98th percentile of each channel of the image, and that is said.
        views: a recipe; equal views that follow each other are one group of columns.
        draws: columns of each group.
        seed: of what is drawn.
        color: "exact" or "linear" color jitter.
        color_channels: those that color operations change, which are shown as red, green and blue; without three of
            them, the first three channels are, or the first as gray.
        title: above the sheet.
        examples: what a method shows its network of views ``(N, C, H, W)`` in [0, 1], drawing from a generator: one
            entry per column, images ``(N, C, h, w)`` and the `N` texts that are written on them. It gets the first
            draw of the first view.

    Raises:
        UsageError: if there are no images or no draws.

    Example:
        >>> from sslbolts.transforms import recipe
        >>> images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> figure = draw_augmentations(images, recipe("byol", 32), draws=3)
        >>> len(figure.axes)  # two rows of the image and three draws of each of two views
        14
    """
    if len(images) == 0 or draws < 1:
        raise UsageError(f"a sheet of {len(images)} images and {draws} draws of each view is empty: give both.")
    groups = [(view, len(list(equal))) for view, equal in groupby(views.views)]
    drawn = [
        _draw(images, view, draws, seed=seed + number, color=color, color_channels=color_channels)
        for number, (view, _) in enumerate(groups)
    ]
    columns: Sequence[tuple[Tensor, list[str]]] = []
    if examples is not None:
        first_views = torch.stack([of_image[0] for of_image in drawn[0]])
        columns = examples(first_views, torch.Generator().manual_seed(seed))
    kinds = [draws] * len(groups) + [len(columns)] * bool(columns)
    widths = [1.0] + [width for count in kinds for width in (_GAP, *[1.0] * count)]
    image_head = f"{images[0].shape[-1]} x {images[0].shape[-2]}{_Shown(images[0], color_channels).note}"
    most = max(len(head_lines(image_head, 1)), *(len(head_lines(describe_view(view), draws)) for view, _ in groups))
    figure, grid = image_grid(len(images), widths, title=title, header=header_height(most))
    for row, image in enumerate(images):
        axes = figure.add_subplot(grid[row, 0])
        shown = _Shown(image, color_channels)
        show_image(axes, shown(image))
        if row == 0:
            head(axes, "image", image_head, columns=1)
        first = 0
        for number, (view, count) in enumerate(groups):
            for column in range(draws):
                axes = figure.add_subplot(grid[row, 2 + number * (draws + 1) + column])
                show_image(axes, shown(drawn[number][row][column]))
                if row == 0 and column == 0:
                    head(axes, _name(first, count), describe_view(view), columns=draws)
            first += count
        for column, (pictures, labels) in enumerate(columns, start=2 + len(groups) * (draws + 1)):
            axes = figure.add_subplot(grid[row, column])
            picture = pictures[row].clamp(0, 1)
            show_image(axes, shown(picture) if len(picture) == len(image) else picture)
            write_on(axes, labels[row])
            if row == 0 and column == 2 + len(groups) * (draws + 1):
                head(axes, "shown", "to the network, of the first view", columns=max(1, len(columns)))
    return figure


def draw_views(
    views: Sequence[Tensor],
    *,
    title: str = "The first training batch",
    color_channels: Sequence[int] | None = None,
    stretch: bool = False,
) -> "Figure":
    """One row per image of a batch, one column per view, as the network gets them.

    Args:
        views: tensors ``(N, C, H_v, W_v)`` uint8 or float in [0, 1].
        title: above the sheet.
        color_channels, stretch: see :func:`~sslbolts.pictures.style.sheet_of`.

    Raises:
        UsageError: if there are no views, or of different numbers of images.

    Example:
        >>> len(draw_views([torch.rand(3, 3, 8, 8), torch.rand(3, 3, 4, 4)]).axes)
        6
    """
    if len({len(view) for view in views}) != 1 or not len(views[0]):
        raise UsageError(f"views of the same images are needed, got {[tuple(view.shape) for view in views]}.")
    views, note = sheet_of(*views, color_channels=color_channels, stretch=stretch)
    figure, grid = image_grid(len(views[0]), [1.0] * len(views), title=title, note=note)
    for column, view in enumerate(views):
        for row, image in enumerate(view):
            axes = figure.add_subplot(grid[row, column])
            show_image(axes, image)
            if row == 0:
                head(axes, f"view {column + 1}", f"{view.shape[-1]} x {view.shape[-2]}")
    return figure


def describe_view(view: View) -> str:
    """A view in a line or two: what is done, and how often.

    Example:
        >>> print(describe_view(View(32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, solarize_p=0.2)))
        32 pixels from 20-100 % of the area, flip 50 %
        jitter 80 %, solarize 20 %
    """
    if isinstance(view, TransformsView):
        steps = (getattr(step, "__name__", type(step).__name__) for step in view.transforms)
        return f"{view.size} pixels, by transforms\n{', '.join(steps)}"
    low, high = (f"{100 * part:g}" for part in view.scale)
    size = f"{view.size} pixels from {low if low == high else f'{low}-{high}'} % of the area"
    chances = {
        "flip": view.flip,
        "vertical flip": view.vertical_flip,
        "quarter turn": view.quarter_turns,
        "border": view.padding,
        "jitter": view.jitter_p if any(view.jitter) else 0.0,
        "gray": view.grayscale_p,
        "blur": view.blur_p,
        "solarize": view.solarize_p,
        "noise": view.noise_p,
        "erase": view.erase_p,
    }
    said = {name: f"{name} {100 * chance:g} %" for name, chance in chances.items() if chance > 0}
    if view.rotation:
        said["turn"] = f"turn by up to {view.rotation:g} degrees"
    if view.custom is not None:
        said["custom"] = getattr(view.custom, "__name__", type(view.custom).__name__)
    first = [size, *([said.pop("flip")] if "flip" in said else [])]
    return "\n".join(line for line in (", ".join(first), ", ".join(said.values())) if line)


@torch.no_grad()
def _draw(
    images: Sequence[Tensor] | Tensor,
    view: View,
    draws: int,
    *,
    seed: int,
    color: Literal["exact", "linear"],
    color_channels: Sequence[int] | None,
) -> list[Tensor]:
    """``draws`` views ``(draws, C, size, size)`` of each image, float in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    augment = BatchedAugment(view, color=color, color_channels=color_channels)
    made = (
        random_crops(image.cpu(), [view] * draws, generator=generator, color=color, color_channels=color_channels)
        for image in images
    )
    crops = [torch.stack(of_image) for of_image in made]
    drawn = augment(torch.cat(crops), generator=generator, crop=False)
    return list(drawn.clamp(0, 1).chunk(len(images)))


def _name(first: int, count: int) -> str:
    if count == 1:
        return f"view {first + 1}"
    return f"views {first + 1} {'and' if count == 2 else 'to'} {first + count}"


class _Shown:
    """An image and its views as they are shown: the channels of colors, and of deep images the same stretch for all."""

    def __init__(self, image: Tensor, color_channels: Sequence[int] | None) -> None:
        self.channels = color_channels
        words = channels_in_words(len(image), color_channels)
        self.note = f"\n{words.removesuffix('.').lower()}" if words else ""
        self.low: Tensor | None = None
        if image.dtype == torch.uint16:
            pixels = pixels_of(shown_channels(image.cpu(), color_channels)).flatten(1)
            steps = pixels[:, :: max(1, pixels.shape[1] // 10_000)]
            self.low, self.high = (torch.quantile(steps, part, 1)[:, None, None] for part in (0.02, 0.98))
            self.note += "\n2-98 % of values"

    def __call__(self, image: Tensor) -> Tensor:
        shown = shown_channels(image.cpu(), self.channels)
        if self.low is None:
            return shown
        pixels = shown if shown.is_floating_point() else pixels_of(shown)
        return ((pixels - self.low) / (self.high - self.low).clamp(min=1e-6)).clamp(0, 1)
