"""The teacher as a moving average of the student."""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.errors import UsageError
from sslbolts.optim import cosine
from sslbolts.training.facts import Clock, total_steps

__all__ = ["EMATeacher"]


class _HasTeacher(Protocol):
    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]: ...


class EMATeacher(Callback):
    r"""Moves teachers after every optimizer step: `teacher ← τ teacher + (1 - τ) student`.

    `τ` is a pure function of the step and the length of the run, a cosine from ``momentum`` to ``final_momentum``, so
    the callback has no state and a resumed run goes on exactly. Batches that only accumulate gradients move nothing,
    and those in which several optimizers step move it once.
    Parameters are averaged; buffers (batch-norm statistics) are the teacher's own.

    A method returns it from ``configure_callbacks()`` and names its pairs in ``ema_pairs()``; any LightningModule with
    such a method can use it.

    Args:
        momentum: `τ` at the beginning, in [0, 1].
        final_momentum: `τ` at the end of the run, in [0, 1]; equal to ``momentum`` for a constant one.

    Raises:
        UsageError: if a momentum is outside [0, 1]; when training starts, if the module has no pairs, or the run has no
            end and the momentum is not constant, or the teacher's weights are in half precision.

    Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv:2006.07733, section 3.3.

    Example:
        >>> round(EMATeacher(0.996).momentum_at(step=50, total=100), 4)
        0.998
    """

    def __init__(self, momentum: float = 0.996, *, final_momentum: float = 1.0) -> None:
        for name, value in (("momentum", momentum), ("final_momentum", final_momentum)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name}={value}: the teacher's momentum must be in [0, 1].")
        self.momentum = momentum
        self.final_momentum = final_momentum
        self._clock: Clock | None = None
        self._teacher: list[Tensor] = []
        self._student: list[Tensor] = []

    def momentum_at(self, *, step: int, total: int) -> float:
        """`τ` after optimizer step number ``step``, counted from 0, of ``total``."""
        return cosine(step, total=total, start=self.momentum, end=self.final_momentum)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not getattr(pl_module, "ema_pairs", list)():
            raise UsageError(
                f"EMATeacher has nothing to average: {type(pl_module).__name__}.ema_pairs() must return pairs "
                "(student, teacher) of modules."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Only here are the parameters on their device and the step counter of a resumed run restored.
        if self.momentum != self.final_momentum:
            total_steps(trainer)  # refuses a run without an end
        self._clock = Clock(trainer)
        self._student, self._teacher = [], []
        for student, teacher in cast(_HasTeacher, pl_module).ema_pairs():
            self._student += student.parameters()
            self._teacher += teacher.parameters()
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in self._teacher):
            raise UsageError(
                "the teacher's parameters are in half precision, where its small steps are rounded away and it never "
                'moves: use precision="bf16-mixed" or "16-mixed", which keep the weights in float32.'
            )

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert self._clock is not None
        done, total = self._clock.done, self._clock.total
        if not self._clock.tick(trainer):
            return
        momentum = self.momentum_at(step=done, total=total)
        torch._foreach_mul_(self._teacher, momentum)
        torch._foreach_add_(self._teacher, self._student, alpha=1 - momentum)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._student, self._teacher = [], []
