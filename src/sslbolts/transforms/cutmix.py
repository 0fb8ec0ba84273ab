"""CutMix: a patch of another image, and as much of its target."""

import torch
from torch import Tensor

__all__ = ["cut_and_mix"]


def cut_and_mix(images: Tensor, targets: Tensor, draws: Tensor, *, probability: float = 0.5) -> tuple[Tensor, Tensor]:
    """Puts a patch of its neighbor into an image, and mixes their targets by area.

    Neighbors are images 0 and 1, 2 and 3, and so on: a shuffled batch has no better ones, and no rank needs another's.
    The patch's area is uniform between 0 and 1 of the image's, its center uniform over the image, and what is outside
    is cut off.

    Args:
        images: ``(B, C, H, W)``.
        targets: ``(B, K)`` distributions.
        draws: ``(B, 4)`` in [0, 1): whether, how large, row, column.
        probability: of an image to get a patch.

    Returns:
        images and targets, new tensors.

    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV
    2019, arXiv:1905.04899.

    Example:
        >>> images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
        >>> draws = torch.tensor([[0.0, 0.25, 0.5, 0.5], [0.9, 0.25, 0.5, 0.5]])
        >>> mixed, targets = cut_and_mix(images, torch.eye(2), draws)
        >>> mixed[0, 0].sum().item(), targets.tolist()  # the middle 2 x 2 pixels of the first image
        (4.0, [[0.75, 0.25], [0.0, 1.0]])
    """
    height, width = images.shape[2:]
    whether, area, row, column = draws[:, :, None].unbind(1)  # (B, 1) each
    half = area.sqrt() / 2
    ys, xs = ((torch.arange(side, device=images.device) + 0.5) / side for side in (height, width))
    rows, columns = (ys - row).abs() < half, (xs - column).abs() < half  # (B, H), (B, W)
    patch = rows[:, :, None] & columns[:, None, :] & (whether < probability)[:, :, None]  # (B, H, W)
    neighbor = (torch.arange(len(images), device=images.device) ^ 1).clamp(max=len(images) - 1)
    part = patch.to(targets.dtype).mean((1, 2))[:, None]
    mixed = torch.where(patch[:, None], images[neighbor], images)
    return mixed, (1 - part) * targets + part * targets[neighbor]
