"""BERT's optimizer: Adam with decoupled weight decay, without bias correction."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import (
    Tensor,
    _foreach_add_,
    _foreach_addcdiv_,
    _foreach_addcmul_,
    _foreach_lerp_,
    _foreach_mul,
    _foreach_mul_,
    _foreach_sqrt,
)
from torch.optim import Optimizer

from sslbolts.checks import at_least, below_one, positive

__all__ = ["BertAdam"]


class BertAdam(Optimizer):
    """Adam whose means start at zero and are not corrected for it, with weight decay beside the gradient.

    `m ← β₁ m + (1 - β₁) g`, `v ← β₂ v + (1 - β₂) g²`, `w ← w - lr (m / (√v + eps) + wd · w)`. The first steps are
    `(1 - β₁) / √(1 - β₂)`, 3.2 times, as long as those of ``torch.optim.AdamW``, which has no such option: hence the
    warm-up.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the means of gradient and squared gradient.
        eps: added to the root.
        weight_decay: of all parameters, or of those of a group.

    Raises:
        UsageError: for a value out of its range.

    Source: Devlin et al., BERT, NAACL 2019, arXiv:1810.04805; the official code.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = BertAdam([weight], lr=0.1, weight_decay=0.0, eps=0.0)
        >>> weight.grad = torch.ones(1)
        >>> optimizer.step()
        >>> round(1 - weight.item(), 4)  # 0.1 * 0.1 / sqrt(0.001)
        0.3162
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        positive(lr=lr)
        at_least(0, eps=eps, weight_decay=weight_decay)
        for beta in betas:
            below_one(betas=beta)
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; ``closure`` computes the loss and the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for p in parameters:
                if not self.state[p]:
                    self.state[p].update(mean=torch.zeros_like(p), square=torch.zeros_like(p))
            gradients: list[Tensor] = [p.grad for p in parameters]
            means = [self.state[p]["mean"] for p in parameters]
            squares = [self.state[p]["square"] for p in parameters]
            first, second = group["betas"]
            _foreach_lerp_(means, gradients, 1 - first)
            _foreach_mul_(squares, second)
            _foreach_addcmul_(squares, gradients, gradients, 1 - second)
            roots = _foreach_sqrt(squares)
            _foreach_add_(roots, group["eps"])
            if group["weight_decay"]:  # of the weights before the step
                decay = _foreach_mul(parameters, -group["lr"] * group["weight_decay"])
                _foreach_addcdiv_(parameters, means, roots, -group["lr"])
                _foreach_add_(parameters, decay)
            else:
                _foreach_addcdiv_(parameters, means, roots, -group["lr"])
        return loss
