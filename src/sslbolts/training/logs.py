"""Logging of numbers that are already the same on every rank, and of none where nothing was measured."""

from collections.abc import Collection, Mapping

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.distributed import world_size

__all__ = ["drop_metrics", "is_compared", "log_reduced"]


def log_reduced(module: LightningModule, values: Mapping[str, float], *, prog_bar: tuple[str, ...] = ()) -> None:
    """Log floats at the end of an epoch so that ``ModelCheckpoint(monitor=...)`` and ``EarlyStopping`` find them.

    Args:
        module: that trains.
        values: metric names and numbers, equal on every rank.
        prog_bar: names that the progress bar shows.
    """
    for name, value in values.items():
        # The largest of equal numbers is that number, bit for bit; their mean over three ranks need not be.
        module.log(
            name,
            value,
            prog_bar=name in prog_bar,
            on_step=False,
            on_epoch=True,
            reduce_fx="max",
            sync_dist=world_size() > 1,
            add_dataloader_idx=False,
            batch_size=1,
        )


def drop_metrics(trainer: Trainer, names: Collection[str]) -> None:
    """Take metrics of an earlier evaluation out of what callbacks compare: this time they were not measured."""
    for name in names:
        trainer.callback_metrics.pop(name, None)


def is_compared(trainer: Trainer, names: Collection[str]) -> bool:
    """True where ``ModelCheckpoint`` or the like compares one of these metrics in this epoch, so that it must be there.

    Args:
        trainer: whose callbacks and learning-rate schedules may have a ``monitor``.
        names: of the metrics.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        every = getattr(callback, "every_n_epochs", None) or 1
        if getattr(callback, "monitor", None) in names and (trainer.current_epoch + 1) % every == 0:
            return True
    return any(config.reduce_on_plateau and config.monitor in names for config in trainer.lr_scheduler_configs)
