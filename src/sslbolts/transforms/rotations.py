"""Images turned by quarters, pixel by pixel: nothing is interpolated, and no corner is empty."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["ANGLES", "rotate", "rotation_labels", "rotations"]

ANGLES = (0, 90, 180, 270)
"""Degrees, counter-clockwise, of the labels 0 to 3."""


def rotate(images: Tensor, quarters: int) -> Tensor:
    """Images turned counter-clockwise by so many quarters; the last two dimensions are rows and columns.

    Args:
        images: ``(..., H, W)`` of any type.
        quarters: any whole number; negative ones turn clockwise.

    Returns:
        ``(..., H, W)``, or ``(..., W, H)`` of an odd number of quarters.

    Example:
        >>> rotate(torch.tensor([[1, 2], [3, 4]]), 1)
        tensor([[2, 4],
                [1, 3]])
    """
    return torch.rot90(images, quarters, (-2, -1))


def rotations(images: Tensor) -> Tensor:
    """All four rotations of each image, side by side: row `4 b + k` is image `b`, turned by `k` quarters.

    What is random about an image, its crop and its flip, comes before: a mirror image that is turned by a quarter is
    the mirror image of one turned by three, so that a flip after the rotation makes the labels 1 and 3 one.

    Args:
        images: ``(B, C, S, S)``.

    Returns:
        ``(4 B, C, S, S)``; :func:`rotation_labels` are what each row is turned by.

    Raises:
        UsageError: for images that are not square.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728.

    Example:
        >>> rotations(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])
    """
    if images.dim() != 4 or images.shape[2] != images.shape[3]:
        raise UsageError(
            f"rotations takes square images (B, C, S, S), got {tuple(images.shape)}: crop them first, since one that "
            "is wider than high gives its rotation away."
        )
    return torch.stack([rotate(images, quarters) for quarters in range(4)], 1).flatten(0, 1)  # (4 B, C, S, S)


def rotation_labels(count: int, *, device: torch.device | str | None = None) -> Tensor:
    """``(4 * count,)``: 0, 1, 2, 3 for each of so many images, the quarters by which :func:`rotations` turns them.

    Example:
        >>> rotation_labels(2)
        tensor([0, 1, 2, 3, 0, 1, 2, 3])
    """
    return torch.arange(4, device=device).repeat(count)
