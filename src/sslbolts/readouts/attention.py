"""The patches that a vision transformer attends to most."""

import torch
from torch import Tensor

from sslbolts.checks import fraction

__all__ = ["attention_mask"]


@torch.no_grad()
def attention_mask(attention: Tensor, threshold: float = 0.6) -> Tensor:
    """The smallest set of patches that holds ``threshold`` of the attention.

    Args:
        attention: ``(..., P)`` non-negative weights of `P` patches, such as one row per head of what the class token
            attends to; they need not sum to 1.
        threshold: share of the mass, in [0, 1].

    Returns:
        ``(..., P)`` bool.

    Raises:
        UsageError: if the threshold is out of range.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294,
    figure 3.

    Example:
        >>> attention_mask(torch.tensor([0.05, 0.5, 0.15, 0.3]), threshold=0.6).tolist()
        [False, True, False, True]
    """
    fraction(threshold=threshold)
    ascending, order = attention.sort(dim=-1)
    mass = ascending.cumsum(-1) / ascending.sum(-1, keepdim=True)
    kept = mass > 1 - threshold
    return torch.zeros_like(kept).scatter_(-1, order, kept)
