"""Schedules of the teacher's temperature and of the weight decay."""

from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.checks import at_least, positive
from sslbolts.errors import UsageError
from sslbolts.optim import cosine
from sslbolts.training.facts import Clock, epochs_done, total_steps

__all__ = ["TeacherTemperatureSchedule", "WeightDecaySchedule"]


class TeacherTemperatureSchedule(Callback):
    """Moves a module's ``teacher_temperature`` in equal steps from one value to another over the first epochs.

    A pure function of the epoch, so a resumed run goes on exactly. Any LightningModule can use it that reads its
    temperature from an attribute of this name.

    Args:
        start: in the first epoch, > 0.
        end: from epoch number ``epochs`` on, > 0; the run's only value if ``epochs`` is 0.
        epochs: of the way from one to the other, >= 0; the last has ``end`` already, a single one has ``start``.

    Raises:
        UsageError: if a value is out of its range; when training starts, if the module has no ``teacher_temperature``.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> schedule = TeacherTemperatureSchedule(0.04, 0.07, epochs=4)
        >>> [round(schedule.temperature_at(epoch), 2) for epoch in range(6)]
        [0.04, 0.05, 0.06, 0.07, 0.07, 0.07]
    """

    def __init__(self, start: float, end: float, *, epochs: int) -> None:
        positive(start=start, end=end)
        at_least(0, epochs=epochs)
        self.start = start
        self.end = end
        self.epochs = epochs

    def temperature_at(self, epoch: int) -> float:
        """The temperature in an epoch, counted from 0."""
        if epoch >= self.epochs:
            return self.end
        return self.start + (self.end - self.start) * epoch / max(self.epochs - 1, 1)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not hasattr(pl_module, "teacher_temperature"):
            raise UsageError(
                f"TeacherTemperatureSchedule has nothing to move: {type(pl_module).__name__} must read its temperature "
                "from an attribute teacher_temperature."
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # In every batch: a run that is resumed in the middle of an epoch has no start of it.
        setattr(pl_module, "teacher_temperature", self.temperature_at(epochs_done(trainer)))  # noqa: B010


class WeightDecaySchedule(Callback):
    """Moves the optimizer's weight decay along half a cosine, from its own value to ``final`` at the end of the run.

    A pure function of the optimizer step, so a resumed run goes on exactly. Parameter groups without decay keep none,
    and those that are added later keep theirs.

    Args:
        final: weight decay at the end, >= 0.

    Raises:
        UsageError: if it is negative; when training starts, if the run has no end.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> round(WeightDecaySchedule(0.4).weight_decay_at(step=50, total=100, start=0.04), 4)
        0.22
    """

    def __init__(self, final: float) -> None:
        at_least(0, final=final)
        self.final = final
        self._clock: Clock | None = None
        self._start: list[list[float]] = []

    def weight_decay_at(self, *, step: int, total: int, start: float) -> float:
        """Weight decay of optimizer step number ``step``, counted from 0, of ``total``."""
        return cosine(step, total=total, start=start, end=self.final)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A checkpoint is restored only after this, so these are the values that the optimizers were made with.
        self._start = [[group.get("weight_decay") or 0.0 for group in o.param_groups] for o in trainer.optimizers]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total_steps(trainer)  # refuses a run without an end
        self._clock = Clock(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert self._clock is not None
        self._clock.tick(trainer)
        for optimizer, starts in zip(trainer.optimizers, self._start):
            for group, start in zip(optimizer.param_groups, starts):
                if start > 0:
                    group["weight_decay"] = self.weight_decay_at(
                        step=self._clock.done, total=self._clock.total, start=start
                    )
