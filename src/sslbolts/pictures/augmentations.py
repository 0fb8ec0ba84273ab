"""Views of a recipe, drawn of real images."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.pictures.style import head, head_lines, header_height, image_grid, show_image, write_on
from sslbolts.transforms import BatchedAugment, MultiCrop, MultiView, View, random_crops

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
    title: str = "What the method sees",
    examples: Examples | None = None,
) -> "Figure":
    """One row per image: the image, several draws of each kind of view, and what the method makes of the first.

    Args:
        images: ``(N, C, H, W)`` uint8, or ``N`` tensors ``(C, H, W)`` uint8 of any sizes; C of 1, 3 or 4.
        views: a recipe; equal views that follow each other are one group of columns.
        draws: columns of each group.
        seed: of what is drawn.
        color: "exact" or "linear" color jitter.
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
    drawn = [_draw(images, view, draws, seed=seed + number, color=color) for number, (view, _) in enumerate(groups)]
    columns: Sequence[tuple[Tensor, list[str]]] = []
    if examples is not None:
        first_views = torch.stack([of_image[0] for of_image in drawn[0]])
        columns = examples(first_views, torch.Generator().manual_seed(seed))
    kinds = [draws] * len(groups) + [len(columns)] * bool(columns)
    widths = [1.0] + [width for count in kinds for width in (_GAP, *[1.0] * count)]
    most = max(len(head_lines(describe_view(view), draws)) for view, _ in groups)
    figure, grid = image_grid(len(images), widths, title=title, header=header_height(most))
    for row, image in enumerate(images):
        axes = figure.add_subplot(grid[row, 0])
        show_image(axes, image)
        if row == 0:
            head(axes, "image", f"{image.shape[-1]} x {image.shape[-2]}")
        first = 0
        for number, (view, count) in enumerate(groups):
            for column in range(draws):
                axes = figure.add_subplot(grid[row, 2 + number * (draws + 1) + column])
                show_image(axes, drawn[number][row][column])
                if row == 0 and column == 0:
                    head(axes, _name(first, count), describe_view(view), columns=draws)
            first += count
        for column, (pictures, labels) in enumerate(columns, start=2 + len(groups) * (draws + 1)):
            axes = figure.add_subplot(grid[row, column])
            show_image(axes, pictures[row].clamp(0, 1))
            write_on(axes, labels[row])
            if row == 0 and column == 2 + len(groups) * (draws + 1):
                head(axes, "shown", "to the network, of the first view", columns=max(1, len(columns)))
    return figure


def draw_views(views: Sequence[Tensor], *, title: str = "The first training batch") -> "Figure":
    """One row per image of a batch, one column per view, as the network gets them.

    Args:
        views: tensors ``(N, C, H_v, W_v)`` uint8 or float in [0, 1].
        title: above the sheet.

    Raises:
        UsageError: if there are no views, or of different numbers of images.

    Example:
        >>> len(draw_views([torch.rand(3, 3, 8, 8), torch.rand(3, 3, 4, 4)]).axes)
        6
    """
    if len({len(view) for view in views}) != 1 or not len(views[0]):
        raise UsageError(f"views of the same images are needed, got {[tuple(view.shape) for view in views]}.")
    figure, grid = image_grid(len(views[0]), [1.0] * len(views), title=title)
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
    low, high = (f"{100 * part:g}" for part in view.scale)
    size = f"{view.size} pixels from {low if low == high else f'{low}-{high}'} % of the area"
    chances = {
        "flip": view.flip,
        "border": view.padding,
        "jitter": view.jitter_p if any(view.jitter) else 0.0,
        "gray": view.grayscale_p,
        "blur": view.blur_p,
        "solarize": view.solarize_p,
    }
    said = {name: f"{name} {100 * chance:g} %" for name, chance in chances.items() if chance > 0}
    first = [size, *([said.pop("flip")] if "flip" in said else [])]
    return "\n".join(line for line in (", ".join(first), ", ".join(said.values())) if line)


@torch.no_grad()
def _draw(
    images: Sequence[Tensor] | Tensor, view: View, draws: int, *, seed: int, color: Literal["exact", "linear"]
) -> list[Tensor]:
    """``draws`` views ``(draws, C, size, size)`` of each image, float in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    augment = BatchedAugment(view, color=color)
    crops = [
        torch.stack(random_crops(image.cpu(), [view] * draws, generator=generator, color=color)) for image in images
    ]
    drawn = augment(torch.cat(crops), generator=generator, crop=False)
    return list(drawn.clamp(0, 1).chunk(len(images)))


def _name(first: int, count: int) -> str:
    if count == 1:
        return f"view {first + 1}"
    return f"views {first + 1} {'and' if count == 2 else 'to'} {first + count}"
