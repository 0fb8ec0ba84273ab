"""A line for a run that trains nothing, because its limit is reached where it begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module

__all__ = ["nothing_left_said"]


@contextmanager
def nothing_left_said(trainer: Trainer) -> Iterator[None]:
    """Around ``trainer.fit``: print why it trained nothing, where a limit was reached before the first step.

    Lightning then returns without a call of any hook. It is no error: a job that is started again after its end does
    this, and should leave with 0.

    Args:
        trainer: about to fit; gets a callback.
    """
    began = _Began()
    trainer.callbacks.append(began)  # type: ignore[attr-defined]
    yield
    limit = _limit_reached(trainer)
    if not began.has_begun and limit is not None and trainer.is_global_zero:
        name, value = limit
        where = f"{trainer.ckpt_path} is at" if trainer.ckpt_path else "the run begins at"
        epochs: Any = trainer.fit_loop.epoch_progress.total
        due = " The end of an epoch, and a validation, may have been due after that step: they come when it goes on."
        print(
            f"Nothing was trained: {where} step {trainer.global_step:,}, and --trainer.{name}={value} is reached."
            f"{due if epochs.processed < epochs.started else ''} To train longer, give a larger one (a schedule that "
            "depends on the length will then be another); `sslbolts validate` measures it as it is.",
            flush=True,
        )


class _Began(Callback):
    """Whether training has begun."""

    def __init__(self) -> None:
        self.has_begun = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.has_begun = True


def _limit_reached(trainer: Trainer) -> tuple[str, Any] | None:
    """Name and value of the Trainer's limit that stands in the way."""
    steps, epochs = trainer.max_steps, trainer.max_epochs
    if steps != -1 and trainer.global_step >= steps:
        return "max_steps", steps
    if epochs not in (None, -1) and trainer.current_epoch >= epochs:
        return "max_epochs", epochs
    timer = lightning_module("callbacks").Timer
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, timer) and (remaining := callback.time_remaining()) is not None and remaining <= 0:
            return "max_time", f"{callback.time_elapsed() + remaining:g} s"
    return None
