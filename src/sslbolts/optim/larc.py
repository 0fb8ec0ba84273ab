"""LARC: a learning rate per tensor, as SwAV uses it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from sslbolts.errors import UsageError

__all__ = ["LARC"]


class LARC(Optimizer):
    r"""SGD with momentum in which every tensor, biases and norms too, moves in proportion to its own norm.

    .. math:: d = \eta \frac{|p|}{|g| + \lambda |p| + 10^{-8}} (g + \lambda p), \quad m \leftarrow \mu m + d, \quad
              p \leftarrow p - \gamma m

    A tensor whose value or gradient is 0 throughout moves by `d = g`, without decay: zero-initialized biases take the
    raw learning rate at first. It differs from :class:`LARS` in these tensors, and in the sum of norms (instead of the
    norm of the sum) that divides. It is the rule of apex's LARC with ``clip=False``, in one optimizer.

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
        if lr < 0:
            raise UsageError(f"lr={lr}: a learning rate cannot be negative.")
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum={momentum}: it must be in [0, 1).")
        if weight_decay < 0:
            raise UsageError(f"weight_decay={weight_decay}: it cannot be negative.")
        if trust_coefficient <= 0:
            raise UsageError(f"trust_coefficient={trust_coefficient}: it must be positive.")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; ``closure`` re-evaluates the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        gradients, decay = [p.grad for p in params], group["weight_decay"]
        norms = torch.stack(torch._foreach_norm(params))
        sizes = torch.stack(torch._foreach_norm(gradients))
        # No host sync to find out which tensors have no ratio.
        defined = (norms > 0) & (sizes > 0)
        trust = group["trust_coefficient"] * norms / (sizes + decay * norms + 1e-8)
        scales = torch.where(defined, trust, torch.ones_like(trust))
        directions = torch._foreach_mul(gradients, list(scales.unbind()))  # type: ignore[arg-type]
        decays = torch.where(defined, trust * decay, torch.zeros_like(trust))
        torch._foreach_add_(directions, torch._foreach_mul(params, list(decays.unbind())))
        buffers = []
        for p in params:
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            buffers.append(state["momentum_buffer"])
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, directions)
        torch._foreach_add_(params, buffers, alpha=-group["lr"])
