"""Losses on the pixels that a network did not see."""

from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["enlarged", "masked_patches", "masked_pixels", "patchify", "unpatchify"]


def patchify(images: Tensor, patch: int) -> Tensor:
    """The pixels of square patches, row after row.

    Args:
        images: ``(B, C, H, W)``; ``patch`` divides `H` and `W`.
        patch: side of a patch in pixels.

    Returns:
        ``(B, L, patch * patch * C)``; a patch's values by row, column and channel, the channel fastest.

    Raises:
        UsageError: for images that are no whole number of patches.

    Example:
        >>> import torch
        >>> patchify(torch.arange(16.0).view(1, 1, 4, 4), 2)[0, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    height, width = images.shape[2:]
    if height % patch or width % patch:
        raise UsageError(f"images of {height} x {width} pixels are no whole number of patches of {patch}.")
    cut = images.reshape(*images.shape[:2], height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, height: int, width: int) -> Tensor:
    """The images ``(B, C, height, width)`` of :func:`patchify`'s patches.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 8, 4)
        >>> bool((unpatchify(patchify(images, 4), 4, 8, 4) == images).all())
        True
    """
    cut = patches.reshape(len(patches), height // patch, width // patch, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


@full_precision
def masked_patches(
    predictions: Tensor, images: Tensor, mask: Tensor, *, patch: int, normalize: bool = True, eps: float = 1e-6
) -> Tensor:
    """Mean squared error of the masked patches' pixels: the sum over a batch's patches by their number.

    Args:
        predictions: ``(B, L, patch * patch * C)``, pixels as :func:`patchify` has them.
        images: ``(B, C, H, W)``.
        mask: ``(B, L)``, 1 or True where a patch was masked.
        patch: side of a patch in pixels.
        normalize: compare with pixels less their patch's mean, by its (unbiased) standard deviation.
        eps: added to the variance.

    Returns:
        Scalar, at least 0; with ``normalize`` 1 - 1 / (patch * patch * C) for predictions that are all 0.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377, section 3.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 4, 4)
        >>> masked_patches(patchify(images, 2), images, torch.ones(2, 4), patch=2, normalize=False).item()
        0.0
    """
    targets = patchify(images, patch)
    if predictions.shape != targets.shape:
        raise UsageError(f"predictions {tuple(predictions.shape)} are not the patches {tuple(targets.shape)}.")
    if normalize:
        targets = (targets - targets.mean(2, keepdim=True)) / (targets.var(2, keepdim=True) + eps).sqrt()
    weights = mask.to(predictions.dtype)
    errors: Tensor = (predictions - targets).square().mean(2) * weights
    return errors.sum() / weights.sum()


def enlarged(mask: Tensor, by: int) -> Tensor:
    """Each cell of a mask ``(B, rows, columns)`` as ``by x by`` cells of a finer one.

    Example:
        >>> import torch
        >>> enlarged(torch.tensor([[[True, False]]]), 2)
        tensor([[[ True,  True, False, False],
                 [ True,  True, False, False]]])
    """
    return mask.repeat_interleave(by, 1).repeat_interleave(by, 2)


@full_precision
def masked_pixels(predictions: Tensor, images: Tensor, mask: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Mean absolute error of the masked pixels: the sum over a batch by their number and that of the channels.

    Args:
        predictions: ``(B, C, H, W)``.
        images: ``(B, C, H, W)``.
        mask: ``(B, rows, columns)``, 1 or True where a square cell was masked; cells cover the image.
        eps: added to the number of masked pixels.

    Returns:
        Scalar, at least 0.

    Raises:
        UsageError: for predictions of another shape, or images that are no whole number of square cells.

    Source: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, CVPR 2022, arXiv:2111.09886, section 3.4.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[1, 0], [0, 0]]])
        >>> round(masked_pixels(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5), mask).item(), 4)
        0.5
    """
    if predictions.shape != images.shape:
        raise UsageError(f"predictions {tuple(predictions.shape)} are not images of {tuple(images.shape)}.")
    (rows, columns), (height, width) = mask.shape[1:], images.shape[2:]
    side = height // rows
    if (rows * side, columns * side) != (height, width):
        raise UsageError(f"images of {height} x {width} pixels are not covered by {rows} x {columns} square cells.")
    weights = enlarged(mask, side)[:, None].to(predictions.dtype)  # (B, 1, H, W)
    errors: Tensor = (images - predictions).abs() * weights
    return errors.sum() / (weights.sum() + eps) / images.shape[1]
