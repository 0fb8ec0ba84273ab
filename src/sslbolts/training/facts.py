"""Facts about a Trainer's run that schedules and learning rates need: its steps, its batch size, its beginning."""

import math
from typing import Any

from sslbolts._lightning import Trainer
from sslbolts.errors import UsageError

__all__ = ["effective_batch_size", "is_new_run", "per_device_batch_size", "steps_per_epoch", "total_steps"]


def is_new_run(trainer: Trainer) -> bool:
    """True if the fit that starts continues no other: neither this Trainer's last one nor one from a checkpoint."""
    return bool(trainer.global_step == 0 and trainer.ckpt_path is None)


def total_steps(trainer: Trainer) -> int:
    """Optimizer steps of the whole run, with accumulation, devices and limits taken into account.

    Raises:
        UsageError: if the run has no end, or none known beforehand, so that no schedule can be a function of it.
    """
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps) or steps < 0:
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
    return int(steps)


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
