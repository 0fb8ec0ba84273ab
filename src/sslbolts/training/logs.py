"""Logging of numbers that are already the same on every rank."""

from collections.abc import Mapping

from sslbolts._lightning import LightningModule
from sslbolts.distributed import world_size

__all__ = ["log_reduced"]


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
