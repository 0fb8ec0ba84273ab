"""Pixels as whole levels, 8 or 16 bits of them, and as float32 in [0, 1]."""

import torch
from torch import Tensor

__all__ = ["LEVELS", "as_levels", "greatest_level", "mirrored", "pixels_of", "rows_of"]

LEVELS = {torch.uint8: 255, torch.uint16: 65535}
"""Types of images that are not finished, and the level that stands for 1."""


def greatest_level(images: Tensor) -> int:
    """The level that stands for 1; 1 for float images.

    Example:
        >>> greatest_level(torch.zeros(1, dtype=torch.uint8))
        255
    """
    return LEVELS.get(images.dtype, 1)


def pixels_of(images: Tensor) -> Tensor:
    """A copy of images of levels, or of float images in [0, 1], as float32 in [0, 1].

    Example:
        >>> pixels_of(torch.tensor([0, 65535], dtype=torch.uint16)).tolist()
        [0.0, 1.0]
    """
    pixels = images.to(torch.float32, copy=True)
    return pixels if images.is_floating_point() else pixels.div_(greatest_level(images))


def as_levels(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Float images in [0, 1], which may be changed, as levels of a type.

    Example:
        >>> as_levels(torch.tensor([0.5, 1.0]), torch.uint8).tolist()
        [128, 255]
    """
    return pixels.mul_(LEVELS[dtype]).round_().to(dtype)


def rows_of(images: Tensor, rows: Tensor) -> Tensor:
    """``images[rows]``, of 16 bits too, which torch before 2.7 does not index.

    Example:
        >>> rows_of(torch.tensor([1, 65535], dtype=torch.uint16), torch.tensor([1])).tolist()
        [65535]
    """
    if images.dtype != torch.uint16:
        return images[rows]
    return images.view(torch.int16)[rows].view(torch.uint16)


def mirrored(images: Tensor) -> Tensor:
    """``images.flip(-1)``, of 16 bits too, which torch before 2.7 does not mirror.

    Example:
        >>> mirrored(torch.tensor([[1, 65535]], dtype=torch.uint16)).tolist()
        [[65535, 1]]
    """
    if images.dtype != torch.uint16:
        return images.flip(-1)
    return images.view(torch.int16).flip(-1).view(torch.uint16)
