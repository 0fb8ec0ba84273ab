"""The Trainer of a protocol: it logs nowhere, writes nothing, and shows a progress bar."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sslbolts._lightning import LIGHTNING, Trainer, rank_zero_warn
from sslbolts.checks import whole
from sslbolts.errors import first_line

__all__ = ["protocol_trainer", "quiet", "saved"]

_ADVICE = (  # none of it is about something to change
    r".*in eval mode at the start of training",
    r"You defined a `validation_step` but have no `val_dataloader`",
    r".*does not have many workers",
    r".*is deprecated, use `isinstance\(treespec",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Leaves out Lightning's notes on devices and its advice, which are not about a protocol's run.

    Example:
        >>> with quiet():
        ...     trainer = protocol_trainer(torch.device("cpu"), max_epochs=1)
    """
    loggers = [logging.getLogger(name) for name in (LIGHTNING, f"{LIGHTNING}.utilities.rank_zero")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


def protocol_trainer(device: torch.device, *, devices: int = 1, precision: str = "32-true", **settings: Any) -> Trainer:
    """A Trainer on a kind of device.

    Args:
        device: whose kind is used.
        devices: how many.
        precision: e.g. "16-mixed".
        **settings: further arguments of the Trainer.

    Raises:
        UsageError: for fewer than one device.

    Example:
        >>> protocol_trainer(torch.device("cpu"), max_epochs=1, enable_progress_bar=False).max_epochs
        1
    """
    whole(devices=devices)
    defaults = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "accelerator": "gpu" if device.type == "cuda" else device.type,
    }
    return Trainer(devices=devices, precision=precision, **{**defaults, **settings})  # type: ignore[arg-type]


def saved(trainer: Trainer, path: str | Path | None) -> list[str]:
    """Write a checkpoint of what was trained, if it has a place; a note for the result, if it cannot be written.

    After hours of training, a full disk is no reason to lose the numbers.
    """
    if path is None:
        return []
    try:
        trainer.save_checkpoint(path)
    except (OSError, RuntimeError) as error:
        note = f"the checkpoint {path} could not be written: {first_line(error)}."
        rank_zero_warn(note)
        return [note]
    return []
