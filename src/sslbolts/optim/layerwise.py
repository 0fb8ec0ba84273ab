"""The base of LARS and LARC: SGD with momentum, whose steps follow the norm of each parameter."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sslbolts.checks import at_least, below_one, positive

__all__ = ["LayerwiseSGD"]


class LayerwiseSGD(Optimizer):
    """Momentum over directions that a subclass scales parameter by parameter.

    Args:
        params: parameters or groups.
        lr: learning rate, >= 0.
        momentum: in [0, 1).
        weight_decay: >= 0.
        trust_coefficient: > 0.
        variant: further settings of every group.

    Raises:
        UsageError: if a value is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float,
        weight_decay: float,
        trust_coefficient: float,
        **variant: Any,
    ) -> None:
        at_least(0, lr=lr, weight_decay=weight_decay)
        below_one(momentum=momentum)
        positive(trust_coefficient=trust_coefficient)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            **variant,
        }
        super().__init__(params, defaults)

    def directions(self, params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Gradients of ``params``, decayed and scaled."""
        raise NotImplementedError(f"{type(self).__name__} must define directions(params, group).")

    def move(
        self, params: list[Tensor], buffers: list[Tensor], directions: list[Tensor], group: dict[str, Any]
    ) -> None:
        """Adds the directions to the momentum, which has been decayed, and takes the step."""
        torch._foreach_add_(buffers, directions)
        torch._foreach_add_(params, buffers, alpha=-group["lr"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; ``closure`` re-evaluates the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                directions = self.directions(params, group)
                buffers = [self._buffer(p) for p in params]
                torch._foreach_mul_(buffers, group["momentum"])
                self.move(params, buffers, directions, group)
        return loss

    def _buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
