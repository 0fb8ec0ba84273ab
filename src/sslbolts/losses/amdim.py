"""Noise-contrastive estimation between features of one view and all locations of another."""

import math

import torch
from torch import Tensor

from sslbolts.distributed import gather, own_rows
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["amdim"]


@full_precision
def amdim(source: Tensor, target: Tensor, *, clip: float = 20.0, regularization: float = 0.05) -> Tensor:
    r"""A source vector finds every location of its own image's other view among all locations of other images.

    .. math:: \frac{1}{BL} \sum_{il} -\log \frac{e^{c(s_{iil})}}{e^{c(s_{iil})} + \sum_{j \ne i, m} e^{c(s_{ijm})}}
              + \frac{\lambda}{B^2 L} \sum_{ijl} s_{ijl}^2, \qquad
              s_{ijl} = \frac{\langle u_i, v_{jl} \rangle}{\sqrt D}, \qquad c(s) = C \tanh(s / C)

    The other locations of the own image are no negatives. The regularization takes the scores as they are before they
    are clipped. Each rank has its own images as sources and the locations of all ranks as targets, with gradient
    through the gather. AMDIM's whole loss is the sum over its pairs of scales of the mean over both directions.

    Args:
        source: `u`, ``(B, D)``: one vector of each image's one view.
        target: `v`, ``(B, L, D)``: all locations of its other view.
        clip: `C` > 0, bound of the scores; 20 in the paper.
        regularization: `λ` >= 0.

    Returns:
        Scalar in float32 (float64 for float64 inputs); ``log(1 + (N - 1) L)`` for `N` images where nothing is learned.

    Raises:
        UsageError: if the shapes do not belong together, or there is only one image.

    Source: Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019,
    arXiv:1906.00910, equations 3 and 4 and section 3.4.

    Example:
        >>> source, target = torch.zeros(3, 8), torch.randn(3, 4, 8)
        >>> round(amdim(source, target).exp().item())  # guessing: itself, and 2 x 4 locations of others
        9
    """
    if source.dim() != 2 or target.dim() != 3 or source.shape != target[:, 0].shape:
        raise UsageError(
            f"amdim takes sources (B, D) and targets (B, L, D), got {tuple(source.shape)} and {tuple(target.shape)}."
        )
    images, locations, width = target.shape
    everything = gather(target)  # (N, L, D)
    if len(everything) < 2:
        raise UsageError("amdim needs two images or more: the locations of the others are the negatives.")
    raw = (source @ everything.flatten(0, 1).T / math.sqrt(width)).view(images, -1, locations)  # (B, N, L)
    scores = clip * torch.tanh(raw / clip)
    itself = own_rows(target)[:, None, None].expand(-1, 1, locations)  # where this rank's images stand
    positives = scores.gather(1, itself).squeeze(1)  # (B, L)
    negatives = scores.scatter(1, itself, -torch.inf).flatten(1).logsumexp(1, keepdim=True)  # (B, 1)
    loss: Tensor = (torch.logaddexp(positives, negatives) - positives).mean() + regularization * raw.square().mean()
    return loss
