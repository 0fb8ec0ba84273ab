"""LARS: a learning rate per layer, for batches of thousands."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sslbolts.optim.foreach import norms, sums
from sslbolts.optim.layerwise import LayerwiseSGD

__all__ = ["LARS"]


class LARS(LayerwiseSGD):
    r"""SGD with momentum in which every weight matrix moves in proportion to its own norm.

    For a parameter `p` of two or more dimensions with gradient `g`:

    .. math:: d = g + \lambda p, \quad d \leftarrow \eta \frac{|p|}{|d|} d, \quad m \leftarrow \mu m + d, \quad
              p \leftarrow p - \gamma m

    Parameters of one dimension (biases, normalization) take `d = g`: no decay, no adaptation. Two optimizers carry this
    name, and differ whenever the learning rate changes: in the one above (BYOL, Barlow Twins, VICReg, MoCo v3) the
    learning rate `γ` multiplies the buffer; in SimCLR's it goes into the buffer, `m ← μm + γd`, `p ← p - m`.

    On CIFAR, the recipes of solo-learn clip, and divide by a sum of norms instead of the norm of the sum. The trust
    ratio `η |p| / |d|` becomes

    .. math:: \min\Big( \frac{\eta |p|}{\gamma\, (|g| + \lambda |p| + 10^{-8})},\ 1 \Big)

    so that no step is longer than that of plain SGD, and small learning rates (a warm-up) have no adaptation at all.
    Parameters whose gradient is 0 throughout are not decayed then.

    Args:
        params: parameters or groups, see :func:`sslbolts.optim.parameter_groups`.
        lr: learning rate `γ`, >= 0.
        momentum: `μ`, in [0, 1).
        weight_decay: `λ`, >= 0, on parameters of two or more dimensions.
        trust_coefficient: `η` > 0.
        lr_in_momentum: SimCLR's variant.
        clip: solo-learn's variant.

    Raises:
        UsageError: if a value is out of its range.

    Source: You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888.

    Example:
        >>> layer = torch.nn.Linear(4, 2)
        >>> optimizer = LARS(layer.parameters(), lr=1.0)
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
        lr_in_momentum: bool = False,
        clip: bool = False,
    ) -> None:
        super().__init__(
            params, lr, momentum, weight_decay, trust_coefficient, lr_in_momentum=lr_in_momentum, clip=clip
        )

    def directions(self, params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Gradients, decayed and scaled by the trust ratio where the parameter has two or more dimensions."""
        adapted = [p for p in params if p.dim() > 1]
        directions = {id(p): p.grad for p in params}
        if adapted:
            gradients = [p.grad for p in adapted if p.grad is not None]
            decayed = sums(gradients, adapted, alpha=group["weight_decay"])
            # A parameter of norm 0 has no ratio: it moves as in plain SGD. No host sync to find out.
            if group["clip"]:
                trust = _clipped(norms(adapted), norms(gradients), group)
            else:
                trust = _trust(norms(adapted), norms(decayed), group)
            torch._foreach_mul_(decayed, list(trust.unbind()))
            directions.update({id(p): d for p, d in zip(adapted, decayed)})
        return [directions[id(p)] for p in params]  # type: ignore[misc]

    def move(
        self, params: list[Tensor], buffers: list[Tensor], directions: list[Tensor], group: dict[str, Any]
    ) -> None:
        if group["lr_in_momentum"]:
            torch._foreach_add_(buffers, directions, alpha=group["lr"])
            torch._foreach_sub_(params, buffers)
        else:
            super().move(params, buffers, directions, group)


def _trust(lengths: Tensor, sizes: Tensor, group: dict[str, Any]) -> Tensor:
    """Factors of the directions, whose norms are ``sizes``; 1 where they are 0."""
    ratios = group["trust_coefficient"] * lengths / sizes
    return torch.where((lengths > 0) & (sizes > 0), ratios, torch.ones_like(lengths))


def _clipped(lengths: Tensor, sizes: Tensor, group: dict[str, Any]) -> Tensor:
    """Factors of the directions of gradients, whose norms are ``sizes``; 0 where they are 0."""
    total = sizes + group["weight_decay"] * lengths + 1e-8
    ratios = (group["trust_coefficient"] * lengths / total / group["lr"]).clamp(max=1.0)
    return torch.where(lengths > 0, torch.where(sizes > 0, ratios, 0.0), 1.0)
