"""Filters that whiten image patches: where the first convolution of a network can begin instead of at random."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError
from sslbolts.networks.backbones import first_convolution

__all__ = ["patches_for", "set_whitening_filters_", "whitenable_convolution"]

_PER_SIDE = 6  # patches along an image's side


def whitenable_convolution(network: nn.Module) -> nn.Conv2d:
    """The first convolution, whose filters may whiten patches of the images.

    Raises:
        UsageError: if the network has none, or it is a grouped one.

    Example:
        >>> whitenable_convolution(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))).in_channels
        3
    """
    first = first_convolution(network)
    if first is None:
        raise UsageError(f"{type(network).__name__} has no convolution whose filters could whiten patches.")
    if first.groups > 1:
        raise UsageError(f"the first convolution of {type(network).__name__} is grouped: it sees no patches.")
    return first


def patches_for(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    """Patches of the convolution's size on a grid over each image.

    Args:
        convolution: with kernels of `k x l` pixels.
        images: ``(B, C, H, W)``, as the network gets them.

    Returns:
        ``(B, P, C k l)`` with `P` of at most 36.

    Raises:
        UsageError: if the images have other channels, or are smaller than the kernel.

    Example:
        >>> patches_for(nn.Conv2d(3, 8, 3), torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 36, 27])
    """
    size, kernel = images.shape[2:], convolution.kernel_size
    if images.shape[1] != convolution.in_channels or any(pixels < k for pixels, k in zip(size, kernel)):
        raise UsageError(
            f"images {tuple(images.shape)} do not go into a convolution of {convolution.in_channels} channels and "
            f"{kernel[0]} x {kernel[1]} pixels."
        )
    rows, columns = (-(-(pixels - k + 1) // _PER_SIDE) for pixels, k in zip(size, kernel))
    return F.unfold(images.float(), kernel, stride=(rows, columns)).transpose(1, 2)


@torch.no_grad()
def set_whitening_filters_(convolution: nn.Conv2d, patches: Tensor, *, eps: float = 0.01) -> None:
    r"""Let the convolution begin with filters whose outputs on patches are uncorrelated and of equal variance.

    The filters are the principal directions of the patches, those of largest variance first, each scaled by
    `1 / √(λ + eps λ₁)` with its variance `λ`, and each with both signs, since a ReLU follows. Filters beyond them keep
    their random weights, and so does the bias.

    Args:
        convolution: ungrouped; changed in place.
        patches: ``(N, C k l)``, of :func:`patches_for`.
        eps: keeps noise in the directions of small variance from being blown up; a share of the largest variance.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, arXiv:2404.00498, section 3.2; there the
    filters stay fixed, here they are trained on.

    Example:
        >>> images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> convolution = nn.Conv2d(3, 8, 3)
        >>> set_whitening_filters_(convolution, patches_for(convolution, images).flatten(0, 1), eps=0.0)
        >>> torch.allclose(convolution.weight[:4], -convolution.weight[4:8])
        True
    """
    patches = with_float64(patches).double().flatten(0, -2)
    centered = patches - patches.mean(0)
    variances, directions = torch.linalg.eigh(centered.T @ centered / len(patches))  # ascending
    filters = (directions / (variances + eps * variances[-1]).clamp(min=1e-12).sqrt()).T.flip(0)
    # The sign of an eigenvector is free: the same everywhere if its largest entry is positive.
    largest = filters.gather(1, filters.abs().argmax(1, keepdim=True))
    filters = (filters * largest.sign())[: convolution.out_channels // 2].view(-1, *convolution.weight.shape[1:])
    pairs = torch.cat([filters, -filters]).to(convolution.weight)
    convolution.weight[: len(pairs)] = pairs
