"""The learning-rate schedule of a run, as a scheduler of torch."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sslbolts.optim.schedules import warmup_cosine

__all__ = ["Schedule", "WarmupCosine"]


class Schedule(LambdaLR):
    """Multiplies the learning rates by a function of the step.

    A checkpoint restores the step, and the optimizer's momentum. Learning rate, decay and the like are those that the
    optimizer at hand was made with: a run that is resumed with another learning rate or batch size uses it.

    Args:
        optimizer: its learning rates are the peaks. A parameter group with ``fixed_lr=True`` keeps its own.
        factor: from the number of optimizer steps done to the factor.
        done: optimizer steps of the run that are done already, where a further fit goes on with it.
        warmup: steps of the rise, for those who ask how long it is; None where that is not said.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        >>> Schedule(optimizer, lambda step: 0.5).get_last_lr()
        [0.2]
    """

    def __init__(
        self, optimizer: Optimizer, factor: Callable[[int], float], *, done: int = 0, warmup: int | None = None
    ) -> None:
        self.warmup = warmup
        fixed = [group.get("fixed_lr", False) for group in optimizer.param_groups]
        if done:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]  # torch asks for it where a schedule does not begin at 0
        super().__init__(optimizer, [_unchanged if keep else factor for keep in fixed], last_epoch=done - 1)
        settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]

        def keep_settings(restored: Optimizer) -> None:
            for group, own in zip(restored.param_groups, settings):
                group.update(own)

        optimizer.register_load_state_dict_post_hook(keep_settings)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = super().state_dict()
        del state["warmup"]  # like the peaks, it is that of the schedule at hand
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "base_lrs": self.base_lrs})
        for group, peak, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas):
            group["lr"] = peak * factor(self.last_epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class WarmupCosine(Schedule):
    """Multiplies the learning rates by :func:`~sslbolts.optim.warmup_cosine` of the step.

    Args:
        optimizer: its learning rates are the peaks.
        total: optimizer steps of the run.
        warmup: steps of the linear rise.
        floor: factor at the end.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        >>> schedule = WarmupCosine(optimizer, total=8, warmup=2)
        >>> schedule.get_last_lr()
        [0.0]
    """

    def __init__(self, optimizer: Optimizer, *, total: int, warmup: int = 0, floor: float = 0.0) -> None:
        super().__init__(
            optimizer, lambda step: warmup_cosine(step, total=total, warmup=warmup, floor=floor), warmup=warmup
        )


def _unchanged(step: int) -> float:
    return 1.0
