"""A fit that diverged, taken up again from its last good checkpoint with a lower learning rate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.distributed import rank
from sslbolts.errors import DivergedError

__all__ = ["LowerRate", "Rewinds"]

_FACTOR = 0.5


class Rewinds:
    """How often a run has gone back, and with which arguments and callbacks it is begun again.

    Everything is built anew, as if the command were given again with ``--ckpt_path``: no state of the diverged run is
    left. The same images come in the same order, so it is the learning rate that has to make the difference.

    Attributes:
        allowed: so many times.
        is_done: whether the command has come to its end.
    """

    def __init__(self) -> None:
        self.allowed = 0
        self.is_done = False
        self._taken = 0
        self._checkpoint: str | None = None

    @property
    def factor(self) -> float:
        """Of the learning rates that the configuration says."""
        return float(_FACTOR**self._taken)

    @property
    def arguments(self) -> list[str]:
        """To be added to the command line."""
        return [] if self._checkpoint is None else [f"--ckpt_path={self._checkpoint}"]

    @property
    def callbacks(self) -> list[Callback]:
        """To be added to the Trainer's."""
        return [LowerRate(self.factor)] if self._taken else []

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Around one run of the command.

        Raises:
            DivergedError: if no more rewinds are allowed, or there is no checkpoint.
        """
        try:
            yield
            self.is_done = True
        except DivergedError as error:
            if self._taken == self.allowed or error.checkpoint is None:
                raise
            self._taken += 1
            self._checkpoint = error.checkpoint
            if rank() == 0:
                print(
                    f"Rewind {self._taken} of {self.allowed}: {error} It goes on from {error.checkpoint} with "
                    f"{self.factor:g} times the learning rate of its configuration, which a run that you resume from a "
                    "later checkpoint does not know: give it a lower one then.",
                    flush=True,
                )


class LowerRate(Callback):
    """Multiplies the learning rates of all optimizers and their schedules, as the module has made them, by a factor.

    Args:
        factor: of the rates before anything is restored from a checkpoint.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._rates: list[list[float]] = []
        self._peaks: list[list[float]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in trainer.optimizers]
        self._peaks = [list(getattr(schedule, "base_lrs", [])) for schedule in _schedules(trainer)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        schedules = _schedules(trainer)
        scheduled = {
            id(getattr(schedule, "optimizer", None)) for schedule in schedules if hasattr(schedule, "base_lrs")
        }
        for optimizer, rates in zip(trainer.optimizers, self._rates):
            if id(optimizer) not in scheduled and id(getattr(optimizer, "_optimizer", optimizer)) not in scheduled:
                for group, rate in zip(optimizer.param_groups, rates):
                    group["lr"] = rate * self.factor
        for schedule, peaks in zip(schedules, self._peaks):
            for group, peak, restored in zip(schedule.optimizer.param_groups, peaks, getattr(schedule, "base_lrs", [])):
                group["lr"] *= peak * self.factor / restored if restored else 0.0
                group["initial_lr"] = peak * self.factor
            if peaks:
                schedule.base_lrs = [peak * self.factor for peak in peaks]


def _schedules(trainer: Trainer) -> list[Any]:
    return [config.scheduler for config in trainer.lr_scheduler_configs]
