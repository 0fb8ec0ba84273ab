"""LARC: a learning rate per tensor, as SwAV uses it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sslbolts.optim.foreach import norms, scaled
from sslbolts.optim.layerwise import LayerwiseSGD

__all__ = ["LARC"]


class LARC(LayerwiseSGD):
    r"""SGD with momentum in which every tensor, biases and norms too, moves in proportion to its own norm.

    .. math:: d = \eta \frac{|p|}{|g| + \lambda |p| + 10^{-8}} (g + \lambda p), \quad m \leftarrow \mu m + d, \quad
              p \leftarrow p - \gamma m

    A tensor whose value or gradient is 0 throughout moves by `d = g`, without decay: zero-initialized biases take the
    raw learning rate at first. It differs from :class:`~sslbolts.optim.LARS` in these tensors, and in the sum of norms
    (instead of the norm of the sum) that divides. It is the rule of apex's LARC with ``clip=False``, in one optimizer.

    Args:
        params: parameters or groups. Those of :func:`sslbolts.optim.parameter_groups` would exempt 1-d ones from the
            decay, which SwAV does not.
        lr: learning rate `γ`, >= 0.
        momentum: `μ`, in [0, 1).
        weight_decay: `λ`, >= 0.
        trust_coefficient: `η` > 0.

    Raises:
        UsageError: if a value is out of its range.

    Source: You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888; used by Caron et al.,
    Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020, arXiv:2006.09882.

    Example:
        >>> layer = torch.nn.Linear(4, 2)
        >>> optimizer = LARC(layer.parameters(), lr=0.6)
        >>> layer(torch.ones(3, 4)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        super().__init__(params, lr, momentum, weight_decay, trust_coefficient)

    def directions(self, params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        gradients = [p.grad for p in params if p.grad is not None]
        decay = group["weight_decay"]
        lengths, sizes = norms(params), norms(gradients)
        # No host sync to find out which tensors have no ratio.
        defined = (lengths > 0) & (sizes > 0)
        trust = group["trust_coefficient"] * lengths / (sizes + decay * lengths + 1e-8)
        directions = scaled(gradients, torch.where(defined, trust, torch.ones_like(trust)))
        torch._foreach_add_(directions, scaled(params, torch.where(defined, trust * decay, torch.zeros_like(trust))))
        return directions
