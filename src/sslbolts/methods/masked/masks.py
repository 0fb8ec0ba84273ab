"""Masks of an image's patches: a share that is the same for all images, at random places."""

import math
from typing import NamedTuple

from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["PatchMask", "random_cells", "random_patches"]


class PatchMask(NamedTuple):
    """Patches that are seen and hidden.

    Attributes:
        keep: ``(B, K)``, the patches that are seen, in the order of their noise.
        restore: ``(B, L)``, for each patch its place among those seen and then those hidden.
        hidden: ``(B, L)``, True where a patch is hidden.
    """

    keep: Tensor
    restore: Tensor
    hidden: Tensor


def random_patches(noise: Tensor, ratio: float) -> PatchMask:
    """The patches with the least noise are seen, `int(L (1 - ratio))` of each image.

    Args:
        noise: ``(B, L)`` random numbers.
        ratio: share of patches that are hidden, in (0, 1).

    Raises:
        UsageError: if no patch is left, or none is hidden.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377, section 3.

    Example:
        >>> import torch
        >>> random_patches(torch.tensor([[0.3, 0.1, 0.9, 0.5]]), 0.5).keep
        tensor([[1, 0]])
    """
    return _least_are_seen(noise, ratio, seen=int(noise.shape[1] * (1 - ratio)))


def random_cells(noise: Tensor, ratio: float) -> Tensor:
    """The cells with the least noise are seen, and `ceil(ratio L)` of each image are hidden.

    That is the number of :func:`random_patches`, but for what rounding makes of ``1 - ratio``.

    Args:
        noise: ``(B, rows, columns)`` random numbers.
        ratio: share of cells that are hidden, in (0, 1).

    Returns:
        ``(B, rows, columns)``, True where a cell is hidden.

    Raises:
        UsageError: if no cell is left, or none is hidden.

    Source: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, CVPR 2022, arXiv:2111.09886, section 3.2.

    Example:
        >>> import torch
        >>> random_cells(torch.tensor([[[0.3, 0.1], [0.9, 0.5]]]), 0.6)
        tensor([[[ True, False],
                 [ True,  True]]])
    """
    flat = noise.flatten(1)
    cells = flat.shape[1]
    return _least_are_seen(flat, ratio, seen=cells - math.ceil(ratio * cells)).hidden.view(noise.shape)


def _least_are_seen(noise: Tensor, ratio: float, *, seen: int) -> PatchMask:
    patches = noise.shape[1]
    if not 0 < seen < patches:
        raise UsageError(
            f"mask_ratio={ratio} leaves {seen} of {patches} patches: give another ratio, smaller patches or larger "
            "images."
        )
    order = noise.argsort(1)
    restore = order.argsort(1)
    return PatchMask(order[:, :seen], restore, restore >= seen)
