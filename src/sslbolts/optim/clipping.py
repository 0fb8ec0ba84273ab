"""Clipping of gradients, tensor by tensor."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sslbolts.checks import positive
from sslbolts.optim.foreach import norms

__all__ = ["clip_each_"]


@torch.no_grad()
def clip_each_(parameters: Iterable[Tensor], max_norm: float) -> None:
    """Scales down, in place, the gradient of every parameter whose own norm is above ``max_norm``.

    Each tensor is clipped by itself: `g ← g · min(1, max_norm / (|g| + 1e-6))`. torch's ``clip_grad_norm_`` and the
    Trainer's ``gradient_clip_val`` clip the norm of all gradients together instead.

    Args:
        parameters: those without a gradient are left out.
        max_norm: > 0.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294,
    official code.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_each_([weight], max_norm=1.0)
        >>> [round(x, 3) for x in weight.grad.tolist()]
        [0.6, 0.8]
    """
    positive(max_norm=max_norm)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        factors = (max_norm / (norms(gradients) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(factors.unbind()))
