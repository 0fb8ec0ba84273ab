"""Facts about a Trainer's run that schedules and learning rates need: its steps, its batch size, its beginning."""

import math
import sys
import weakref
from typing import Any, NamedTuple

from sslbolts._lightning import Trainer
from sslbolts.errors import UsageError

__all__ = [
    "Clock",
    "effective_batch_size",
    "epochs_done",
    "is_new_run",
    "per_device_batch_size",
    "steps_done",
    "steps_per_epoch",
    "total_steps",
]


class _Beginning(NamedTuple):
    """The counts of a Trainer when the run of a module began: a Trainer that trains another one goes on counting."""

    module: Any = None  # a weak reference
    epochs: int = 0
    batches: int = 0
    steps: int = 0


_BEGINNINGS: weakref.WeakKeyDictionary[Trainer, _Beginning] = weakref.WeakKeyDictionary()


def _beginning(trainer: Trainer) -> _Beginning:
    """The beginning of the present run. A further fit of the module, or one from a checkpoint, continues a run."""
    module, last = trainer.lightning_module, _BEGINNINGS.get(trainer)
    if module is None:
        return _Beginning()
    if trainer.ckpt_path is not None:
        _BEGINNINGS[trainer] = _Beginning(weakref.ref(module))
    elif last is None or last.module() is not module:
        began = trainer.current_epoch, _batches(trainer), trainer.global_step
        _BEGINNINGS[trainer] = _Beginning(weakref.ref(module), *began)
    return _BEGINNINGS[trainer]


def _batches(trainer: Trainer) -> int:
    """Batches that the Trainer has trained on in all its fits."""
    total: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(total.processed)


def is_new_run(trainer: Trainer) -> bool:
    """True if the fit that starts continues no other: neither the last one of this module nor one of a checkpoint."""
    return bool(trainer.ckpt_path is None and steps_done(trainer) == 0)


def steps_done(trainer: Trainer) -> int:
    """Optimizer steps of the run so far. Where several optimizers step, each step counts: see :class:`Clock`."""
    return int(trainer.global_step) - _beginning(trainer).steps


def epochs_done(trainer: Trainer) -> int:
    """Epochs of the run that are over."""
    return int(trainer.current_epoch) - _beginning(trainer).epochs


class Clock:
    """The time of a run, which every schedule goes by: it moves on with each optimizer step.

    Under automatic optimization the unit is a step. Under manual optimization nobody knows beforehand how many steps
    there will be, of one optimizer or of several, in each batch or now and then: the unit is a batch there, or a step
    of any optimizer where ``max_steps`` ends the run sooner.

    Args:
        trainer: whose run begins or goes on.

    Attributes:
        done: units before the present optimizer step.
        total: units of the whole run; ``sys.maxsize`` if it has no end.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._began = _beginning(trainer)
        self._steps = self._batches = sys.maxsize
        if trainer.lightning_module.automatic_optimization:
            if _has_end(trainer):
                self._steps = total_steps(trainer)
        else:
            if trainer.max_steps != -1:
                self._steps = max(1, trainer.max_steps - self._began.steps)
            batches = trainer.num_training_batches * (trainer.max_epochs or 0)
            if 0 < batches < math.inf:
                self._batches = max(1, int(batches) - self._began.batches)
        self._seen = trainer.global_step
        self.done, self.total = self._now(trainer)

    def tick(self, trainer: Trainer) -> bool:
        """True if an optimizer has stepped since the last time; then the clock moves on."""
        if trainer.global_step == self._seen:
            return False
        self._seen = trainer.global_step
        self.done, self.total = self._now(trainer)
        return True

    def _now(self, trainer: Trainer) -> tuple[int, int]:
        steps = int(trainer.global_step) - self._began.steps
        batches = _batches(trainer) - self._began.batches
        return max((steps, self._steps), (batches, self._batches), key=lambda time: (time[0] / time[1], -time[1]))


def _has_end(trainer: Trainer) -> bool:
    steps = trainer.estimated_stepping_batches
    return not math.isinf(steps) and steps >= 0


def total_steps(trainer: Trainer) -> int:
    """Optimizer steps of the whole run, with accumulation, devices and limits taken into account.

    Raises:
        UsageError: if the run has no end, or none known beforehand, so that no schedule can be a function of it.
    """
    if not _has_end(trainer):
        if trainer.max_epochs not in (None, -1):
            raise UsageError(
                f"the training loader has no length, so max_epochs={trainer.max_epochs} does not tell how many steps "
                "there will be, but the learning rate and momentum schedules are functions of it: give the Trainer "
                "max_steps."
            )
        raise UsageError(
            f"the run has no end (max_epochs={trainer.max_epochs}, max_steps={trainer.max_steps}), but the learning "
            "rate and momentum schedules are functions of its length: give the Trainer max_epochs or max_steps."
        )
    return max(1, int(trainer.estimated_stepping_batches) - _beginning(trainer).steps)


def steps_per_epoch(trainer: Trainer) -> float:
    """Optimizer steps of one epoch (a limit on batches and accumulation taken into account).

    Raises:
        UsageError: if the training loader has no length.
    """
    _set_up_loader(trainer)
    batches = trainer.num_training_batches
    if math.isinf(batches):
        raise UsageError("the training loader has no length: warm up over a number of steps with a sized dataset.")
    return max(1.0, math.ceil(batches / trainer.accumulate_grad_batches))


def per_device_batch_size(trainer: Trainer) -> int:
    """Images that one device sees in one batch, read from the Trainer's training loader.

    Raises:
        UsageError: if the loader does not tell.
    """
    _set_up_loader(trainer)
    for loader in _leaves(trainer.train_dataloader):
        for source in (loader, getattr(loader, "batch_sampler", None), getattr(loader, "sampler", None)):
            size = getattr(source, "batch_size", None)
            if isinstance(size, int):
                return size
    raise UsageError(
        "the batch size cannot be read from the training loader "
        f"({type(trainer.train_dataloader).__name__}), but the learning rate is scaled by it: use a DataLoader with a "
        "batch_size, or pass lr_scaling='none'."
    )


def effective_batch_size(trainer: Trainer) -> int:
    """Images per optimizer step: per-device batch x devices x nodes x accumulated batches."""
    return per_device_batch_size(trainer) * trainer.world_size * trainer.accumulate_grad_batches


def _set_up_loader(trainer: Trainer) -> None:
    # Asking for trainer.estimated_stepping_batches sets it up too, but not where only max_steps limits the run.
    trainer.fit_loop.setup_data()


def _leaves(loaders: Any) -> list[Any]:
    if isinstance(loaders, dict):
        return [leaf for value in loaders.values() for leaf in _leaves(value)]
    if isinstance(loaders, list | tuple):
        return [leaf for value in loaders for leaf in _leaves(value)]
    return [loaders]
