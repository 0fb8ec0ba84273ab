"""Masks of the parts of an image that a network must fill in: a square in the center, regions of random shape."""

import torch
from torch import Tensor

__all__ = ["CANDIDATES", "center", "center_hole", "noise_cells", "overlap_weights", "random_regions"]

CANDIDATES = 64
"""Random masks of which one is taken: fewer than one time in a million none has the right size."""

_CELLS = 7.68  # of low-resolution noise along an image: 6 % of 128 pixels


def center(images: Tensor, side: int) -> Tensor:
    """The central square ``(..., side, side)`` of images.

    Example:
        >>> center(torch.arange(16.0).view(4, 4), 2).tolist()
        [[5.0, 6.0], [9.0, 10.0]]
    """
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    return images[..., top : top + side, left : left + side]


def center_hole(height: int, width: int, side: int, device: torch.device | str | None = None) -> Tensor:
    """``(height, width)``, True in the central square.

    Example:
        >>> center_hole(4, 4, 2).int().sum().item()
        4
    """
    hole = torch.zeros(height, width, dtype=torch.bool, device=device)
    center(hole, side).fill_(True)
    return hole


def overlap_weights(side: int, overlap: int, weight: float, device: torch.device | str | None = None) -> Tensor:
    """``(side, side)``: ``weight`` on the ring of ``overlap`` pixels along the border, 1 inside.

    Example:
        >>> overlap_weights(4, 1, 10.0)[1].tolist()
        [10.0, 1.0, 1.0, 10.0]
    """
    weights = torch.full((side, side), weight, device=device)
    center(weights, side - 2 * overlap).fill_(1.0)
    return weights


def noise_cells() -> int:
    """Side of the noise from which :func:`random_regions` makes a mask."""
    return int(_CELLS) + 6


def random_regions(noise: Tensor, place: Tensor, side: int) -> Tensor:
    """A mask with a fifth to three tenths of the image, in regions of random shape.

    Noise of low resolution is enlarged bicubically, and what is below a quarter is masked. Of several such candidates
    the first is taken that has the right share, and if there is none, the one that is nearest to it; the host does not
    wait to know which.

    Args:
        noise: ``(K, n, n)`` uniform numbers in [0, 1) with `n` of :func:`noise_cells`, one square per candidate.
        place: ``(K, 2)``, the same, by which the cells of each candidate are moved.
        side: of the image, pixels. The regions grow with it: an image has 7.68 cells across, as one of 128 pixels has
            in the official code.

    Returns:
        ``(side, side)``, True where the image is hidden.

    Source: the official code of Pathak et al., Context Encoders: Feature Learning by Inpainting, CVPR 2016,
    arXiv:1604.07379, which cuts its candidates out of one large pattern.

    Example:
        >>> n = noise_cells()
        >>> mask = random_regions(torch.rand(CANDIDATES, n, n), torch.rand(CANDIDATES, 2), 32)
        >>> mask.shape, bool(0.2 <= mask.float().mean() <= 0.3)
        (torch.Size([32, 32]), True)
    """
    across = (torch.arange(side, device=noise.device) + 0.5) * (_CELLS / side)
    cells = torch.arange(noise.shape[-1], device=noise.device) + 0.5
    positions = 2 + place[:, :, None] + across  # (K, 2, side), in cells
    rows, columns = _cubic(positions[..., None] - cells).unbind(1)  # (K, side, n)
    hidden = rows @ noise @ columns.mT < 0.25  # (K, side, side)
    share = hidden.float().mean((1, 2))
    chosen = (share - 0.25).abs().clamp(min=0.05).argmin()  # the first of those that are right
    return hidden.index_select(0, chosen[None])[0]


def _cubic(distance: Tensor) -> Tensor:
    """Weights of cubic interpolation by Catmull and Rom."""
    t = distance.abs()
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((2.5 - 0.5 * t) * t - 4) * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
