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


def rotations(images: Tensor, *, image_major: bool = True) -> Tensor:
    """All four rotations of each image: row `4 b + k` is image `b`, turned by `k` quarters.

    What is random about an image, its crop and its flip, comes before: a mirror image that is turned by a quarter is
    the mirror image of one turned by three, so that a flip after the rotation makes the labels 1 and 3 one.

    Args:
        images: ``(B, C, S, S)``.
        image_major: the rotations of an image side by side, as in the official code. False gives row `k B + b`: all
            images in one rotation after the other, as views follow each other, which is the order in which probes
            match rows to labels. Loss and batch norm are the same in either.

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
    return torch.stack([rotate(images, quarters) for quarters in range(4)], int(image_major)).flatten(0, 1)


def rotation_labels(count: int, *, image_major: bool = True, device: torch.device | str | None = None) -> Tensor:
    """``(4 * count,)``: the quarters by which :func:`rotations` turns so many images, in the order of its rows.

    Example:
        >>> rotation_labels(2)
        tensor([0, 1, 2, 3, 0, 1, 2, 3])
        >>> rotation_labels(2, image_major=False)
        tensor([0, 0, 1, 1, 2, 2, 3, 3])
    """
    labels = torch.arange(4, device=device)
    return labels.repeat(count) if image_major else labels.repeat_interleave(count)
