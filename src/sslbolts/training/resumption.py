"""A run that goes on from a checkpoint in the way in which it would have gone on without one."""

from typing import Any

import torch

from sslbolts._lightning import Callback, LightningModule, Trainer

__all__ = ["known_metrics", "resume_exactly", "row_due"]


def resume_exactly(
    trainer: Trainer,
    checkpoint: dict[str, Any],
    metrics: dict[str, float] | None = None,
    row: dict[str, float] | None = None,
) -> None:
    """Have a fit that is resumed do what was still to be done when its checkpoint was written.

    ``ModelCheckpoint(every_n_train_steps=...)`` saves after an optimizer step, before all that may follow it: the
    validation, and, after an epoch's last batch, the end of the epoch. Lightning counts these as done when it resumes:
    it skips them, and with the end of an epoch the start of the next one as well. Here the batch is counted as done,
    and what followed it follows now, through Lightning's own loops. A validation that was interrupted begins anew, and
    an epoch that had ended does not end a second time, as it does in Lightning where there is a ``max_steps``.

    An epoch that ``max_steps`` or ``max_time`` has cut short, which Lightning counts as a whole one, goes on where it
    was cut, and ends once more.

    Where ``max_steps`` is reached already, Lightning trains nothing and calls no hook, and so it is here.

    Args:
        trainer: about to fit; has the callback that does it until training starts.
        checkpoint: what the Trainer has read, and has not used yet; its counts of batches and epochs may be changed.
        metrics: what callbacks could compare when the checkpoint was written; see :func:`known_metrics`.
        row: what was to be logged next; see :func:`row_due`.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = loops.get("epoch_loop.batch_progress")
    if batches is None:
        return
    loops["epoch_loop.batch_progress"], after_batch = _completed(batches)
    loops["epoch_progress"], after_epoch = _completed(loops["epoch_progress"])
    was_cut = _was_cut_short(loops)
    if was_cut:
        loops["epoch_progress"], after_epoch = _begun(loops["epoch_progress"]), False
    trainer.callbacks.append(_GoesOn(after_batch, after_epoch, was_cut, metrics or {}, row or {}))  # type: ignore[attr-defined]


def known_metrics(trainer: Trainer) -> dict[str, float]:
    """What callbacks and learning-rate schedules can compare now.

    In an epoch's hooks it is what they have asked for last, since the mean over all ranks is computed by all together,
    and a checkpoint may be written by one.
    """
    connector: Any = trainer._logger_connector  # noqa: SLF001
    in_batch = connector._first_loop_iter is not None  # noqa: SLF001
    metrics = trainer.callback_metrics if in_batch else connector._callback_metrics  # noqa: SLF001
    return {name: float(value) for name, value in metrics.items()}


def row_due(trainer: Trainer) -> dict[str, float]:
    """What loggers get of a training step in whose last hook a checkpoint is written; they get it after that hook.

    Empty elsewhere, and where this step is none that is logged. A run that ends there, by a signal or worse, has not
    logged it; the one that goes on does.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    connector: Any = trainer._logger_connector  # noqa: SLF001
    count = loop.batch_progress.current
    is_over = count.ready == count.started == count.processed == count.completed + 1
    if not (trainer.training and is_over and connector._first_loop_iter is not None):  # noqa: SLF001
        return {}
    if not connector.should_update_logs or loop._should_accumulate():  # noqa: SLF001
        return {}
    return {name: float(value) for name, value in connector.metrics["log"].items()}


def _completed(progress: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Counts of batches or epochs with the one counted as completed in whose last hook they were saved, if so it is."""
    counts = {which: progress[which] for which in ("total", "current")}
    for count in counts.values():
        if not count["ready"] == count["started"] == count["processed"] == count["completed"] + 1:
            return progress, False
    done = {which: count | {"completed": count["processed"]} for which, count in counts.items()}
    return progress | done, True


def _was_cut_short(loops: dict[str, Any]) -> bool:
    """Whether the epoch that is counted as over had batches to come, when ``max_steps`` or ``max_time`` was reached."""
    batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]["current"]
    in_the_middle = 0 < batches["current"]["ready"] == batches["current"]["completed"] and not batches["is_last_batch"]
    return bool(in_the_middle and epochs["completed"] == epochs["ready"])


def _begun(progress: dict[str, Any]) -> dict[str, Any]:
    """Counts of epochs without the end of the last one."""
    counts = {which: progress[which] for which in ("total", "current")}
    back = {w: c | {name: c[name] - 1 for name in ("processed", "completed")} for w, c in counts.items()}
    return progress | back


class _GoesOn(Callback):
    """Tells Lightning's loops what comes next, when they have taken up their counts and are about to go on."""

    def __init__(
        self,
        after_batch: bool,
        after_epoch: bool,
        was_cut: bool,
        metrics: dict[str, float],
        row: dict[str, float],
    ) -> None:
        self.after_batch = after_batch
        self.after_epoch = after_epoch
        self.was_cut = was_cut
        self.metrics = metrics
        self.row = row

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.teardown(trainer, pl_module, "fit")
        for name, value in self.metrics.items():
            trainer.callback_metrics.setdefault(name, torch.tensor(value, device=pl_module.device))
        loop: Any = trainer.fit_loop.epoch_loop
        validation: Any = loop.val_loop
        if self.after_epoch:  # with max_steps, Lightning would take it up once more
            loop._restarting = validation._restarting = False  # noqa: SLF001
        if validation.restarted_mid_evaluation:
            validation._restarting = False  # noqa: SLF001
        if self.was_cut and not loop._should_accumulate() and self._is_due(trainer):  # noqa: SLF001
            loop._batches_that_stepped -= 1  # noqa: SLF001  # as the loop counts it where it leaves out a validation
        if not self.after_batch:
            return
        if self.row:
            connector: Any = trainer._logger_connector  # noqa: SLF001
            connector.log_metrics(self.row)
        batches, length = loop.batch_progress, trainer.num_training_batches
        if batches.is_last_batch or batches.current.ready >= length:
            self._count_whole_epoch(batches, length)
        if self._is_due(trainer):
            # The loop then goes to validation at once, as if that had been interrupted.
            validation._restarting = False  # noqa: SLF001
            validation._restart_stage = "restarted_mid_evaluation"  # noqa: SLF001
            return
        if not loop._should_accumulate():  # noqa: SLF001
            loop._batches_that_stepped += 1  # noqa: SLF001  # as the loop does after a batch
        if batches.is_last_batch:
            trainer.fit_loop._data_fetcher.done = True  # type: ignore[union-attr]  # noqa: SLF001

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A new list, since the Trainer is going through the old one.
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        trainer.callbacks = [callback for callback in callbacks if callback is not self]  # type: ignore[attr-defined]

    @staticmethod
    def _is_due(trainer: Trainer) -> bool:
        """Whether a validation comes after the batch that was the last."""
        loop: Any = trainer.fit_loop
        return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))  # noqa: SLF001

    @staticmethod
    def _count_whole_epoch(batches: Any, length: float) -> None:
        """The epoch is over, also where epochs have another number of batches now."""
        batches.is_last_batch = True
        if length != float("inf"):
            for count in ("ready", "started", "processed", "completed"):
                setattr(batches.current, count, int(length))
