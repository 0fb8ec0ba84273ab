"""Crops of one decoded image, for the worker processes that decode it."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.transforms.batched import BatchedAugment, resize_and_center, resized
from sslbolts.transforms.geometry import padded
from sslbolts.transforms.levels import LEVELS, as_levels, pixels_of
from sslbolts.transforms.own import transformed
from sslbolts.transforms.parameters import central_box, draw_parameters
from sslbolts.transforms.recipes import Evaluation, TransformsView, View

__all__ = ["center_crop", "random_box", "random_crops"]

_TRIES = 10


def random_crops(
    image: Tensor,
    views: Sequence[View],
    *,
    generator: torch.Generator,
    out: Sequence[Tensor] | None = None,
    color: Literal["exact", "linear"] = "exact",
    color_channels: Sequence[int] | None = None,
) -> list[Tensor]:
    """One random resized crop of an image per view; flip and colors are left to the batch.

    Only of a view with ``color_first`` are the colors changed here, since later the whole image is not there.
    Differs from PIL's resize by at most one level with bilinear interpolation. How much is drawn depends on the
    number of views alone, so that changing one view leaves the crops of the others as they were.

    Args:
        image: ``(C, H, W)`` uint8 or uint16 on the CPU; fastest as a view of a decoder's (H, W, C).
        views: their size, scale, ratio and interpolation count, and with ``color_first`` jitter and grayscale.
        generator: where all randomness comes from.
        out: one ``(C, size, size)`` tensor of the image's type per view to write into, of any strides (for instance,
            one image of a batch in shared memory). None makes new tensors.
        color, color_channels: as of :class:`BatchedAugment`.

    Returns:
        ``(C, size, size)`` of the image's type per view.

    Example:
        >>> image = torch.randint(0, 256, (375, 500, 3), dtype=torch.uint8).permute(2, 0, 1)
        >>> crops = random_crops(image, [View(224), View(96)], generator=torch.Generator().manual_seed(0))
        >>> [tuple(crop.shape) for crop in crops]
        [(3, 224, 224), (3, 96, 96)]
    """
    _check(image)
    tries = torch.rand(len(views), _TRIES, 4, generator=generator).tolist()
    crops = []
    for place, (view, numbers) in enumerate(zip(views, tries, strict=True)):
        if isinstance(view, TransformsView):
            crop = transformed(image, view, seed=_seed(numbers[-1]))
        else:
            augment = BatchedAugment(view, color=color, color_channels=color_channels) if view.color_first else None
            whole = padded(image, view.padding) if augment is None else _colored(image, augment, numbers[-1])
            height, width = whole.shape[-2:]
            top, left, h, w = random_box(view, height, width, numbers)
            crop = whole[None, :, top : top + h, left : left + w]
            crop = _resize(crop, view.size, view.size, view.interpolation)[0]
        crops.append(crop if out is None else out[place].copy_(crop))
    return crops


def _colored(image: Tensor, augment: BatchedAugment, numbers: Sequence[float]) -> Tensor:
    """Jitter and grayscale of one whole image, drawn from the numbers of the last try, which hardly any crop needs."""
    drawn = torch.Generator().manual_seed(_seed(numbers))
    draws = draw_parameters(augment.view, 1, *image.shape[-2:], generator=drawn, crop=False, channels=len(image))
    return as_levels(augment.color_groups(pixels_of(image[None]), draws)[0], image.dtype)


def _seed(numbers: Sequence[float]) -> int:
    low, high = (int(number * 2**24) for number in numbers[:2])
    return high << 24 | low


def random_box(view: View, height: int, width: int, tries: Sequence[Sequence[float]]) -> tuple[int, int, int, int]:
    """Torchvision's RandomResizedCrop: top, left, height and width of the first try that fits, else the central crop.

    Args:
        tries: up to 10 times four numbers in [0, 1): area, ratio, row, column.

    Example:
        >>> random_box(View(8, scale=(0.25, 0.25), ratio=(1.0, 1.0)), 40, 40, [(0.0, 0.0, 0.5, 0.0)])
        (10, 0, 20, 20)
    """
    low, high = math.log(view.ratio[0]), math.log(view.ratio[1])
    for area_at, ratio_at, row_at, column_at in tries:
        area = height * width * (view.scale[0] + (view.scale[1] - view.scale[0]) * area_at)
        ratio = math.exp(low + (high - low) * ratio_at)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(row_at * (height - h + 1)), int(column_at * (width - w + 1)), h, w
    return central_box(height, width, view.ratio)


def center_crop(image: Tensor, evaluation: Evaluation) -> Tensor:
    """The evaluation view of one image: shorter side resized, central square cut out.

    Args:
        image: ``(C, H, W)`` uint8 or uint16 on the CPU.
        evaluation: the sizes; where ``resize`` is the shorter side already, pixels stay as they are.

    Returns:
        ``(C, size, size)`` of the image's type.

    Example:
        >>> center_crop(torch.zeros(3, 375, 500, dtype=torch.uint8), Evaluation(resize=256, size=224)).shape
        torch.Size([3, 224, 224])
    """
    _check(image)
    return resize_and_center(image[None].contiguous(memory_format=torch.channels_last), evaluation)[0]


def _resize(image: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """``(1, C, H, W)``, antialiased; three times as fast on pixels that lie together (channels last)."""
    image = image.contiguous(memory_format=torch.channels_last)
    return resized(image, height, width, interpolation)


def _check(image: Tensor) -> None:
    if image.ndim != 3 or image.dtype not in LEVELS:
        raise UsageError(
            "A decoded image must be (channels, height, width) of uint8 or uint16, "
            f"not {tuple(image.shape)} of {image.dtype}."
        )
