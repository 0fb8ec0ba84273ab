"""A look at the run before its first batch."""

import math
import time
from collections.abc import Iterator
from numbers import Real
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module, rank_zero_warn
from sslbolts.callbacks.knn import KNNMonitor
from sslbolts.callbacks.probe import OnlineLinearProbe
from sslbolts.callbacks.shared.pace import LAST, Pace
from sslbolts.errors import UsageError
from sslbolts.optim.scheduler import Schedule
from sslbolts.tables import TextTable
from sslbolts.training.facts import effective_batch_size, per_device_batch_size, total_steps
from sslbolts.training.rows import first_loader, length_of

__all__ = ["Preflight"]


class Preflight(Callback):
    """Says in one table what the run will be, and refuses or warns about what will not work out.

    The table has the batch per device, devices, accumulation, effective batch, images, steps, peak learning rate,
    warm-up, precision, and trainable and frozen parameters. It works on any module, and only looks: it asks for no
    loader before the Trainer does, and calls no schedule, so the warm-up of one that does not tell it is unknown.

    Refused, with what to do: a training loader without a batch; a monitor that needs labels on data that has none, or
    has another number of classes. Warned of: fewer images than an effective batch; batch norm over several GPUs
    without ``sync_batchnorm``; Lightning's ``WeightAveraging`` beside a teacher or a queue; pure half precision with a
    teacher; a warm-up as long as the run; a monitor that never runs, since there is no validation; a checkpoint that
    has no state for a callback that keeps one.

    After the first 20 batches, or those of a shorter epoch, one line follows: the time of an epoch and of the run (of
    what is left of it, if it was resumed), images per second, and whether the loader or the network limits it: the
    share of the time that passes between a batch's end and the next one's beginning, in which the loader is waited for,
    the device finishes its views, and callbacks after this one end their step. Only the host's clock is read.

    Attributes:
        facts: the rows of the table.
        speed: the line; empty until it is known.

    Raises:
        UsageError: when fit starts, for labels that are not there; when the training loader is, if it has no batch.

    Example:
        >>> Preflight().facts
        {}
    """

    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.speed = ""
        self._pace: Pace | None = None  # while it is measured

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _refuse_missing_labels(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for warning in _warnings(trainer, pl_module):
            rank_zero_warn(warning)
        self.facts = _facts(trainer, pl_module)
        if trainer.is_global_zero:
            _show(type(pl_module).__name__, self.facts)
        self.speed = ""
        self._pace = None if trainer.fast_dev_run else Pace(self.clock)  # type: ignore[attr-defined]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._pace is not None:
            self._pace.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._pace is None:
            return
        self._pace.end()
        if self._pace.batches == LAST or trainer.is_last_batch:
            self.speed = _speed(trainer, self._pace)
            self._pace = None
            pl_module.print(self.speed)  # on rank 0, and beside a progress bar

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._pace is not None:
            self._pace.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._pace is not None:
            self._pace.resume()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _refuse_empty_training(trainer)  # without a batch, training does not start

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Name the callbacks that will start afresh: Lightning is silent about them."""
        stored = checkpoint.get("callbacks", {})
        fresh = [
            callback.state_key
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if type(callback).state_dict is not Callback.state_dict and callback.state_key not in stored
        ]
        if fresh:
            rank_zero_warn(f"the checkpoint has no state for {', '.join(fresh)}: there, the run starts afresh.")


def _facts(trainer: Trainer, module: LightningModule) -> dict[str, str]:
    steps = _or_none(total_steps, trainer)
    per_device, effective = _or_none(per_device_batch_size, trainer), _or_none(effective_batch_size, trainer)
    devices = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
    if trainer.num_nodes > 1:
        devices += f" on {trainer.num_nodes} nodes"
    images = _images(trainer)
    peak, warmup = _learning_rate(trainer)
    parameters = [p for p in module.parameters() if not is_lazy(p)]  # a lazy one has no size yet
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    return {
        "batch per device": _number(per_device),
        "devices": devices,
        "accumulated batches": _number(trainer.accumulate_grad_batches),
        "effective batch": _number(effective),
        "training images": _number(images),
        "optimizer steps": "no end" if steps is None else _number(steps),
        "peak learning rate": "unknown" if peak is None else f"{peak:.4g}",
        "warm-up steps": _number(warmup),
        "precision": str(trainer.precision),
        "trainable parameters": _number(trainable),
        "frozen parameters": _number(frozen),
    }


def _speed(trainer: Trainer, pace: Pace) -> str:
    """The line on the speed. Batches are counted: gradients may be accumulated, or several optimizers may step."""
    size = _or_none(per_device_batch_size, trainer)
    total = trainer.fit_loop.epoch_loop.batch_progress.total.ready
    per_epoch = float(trainer.num_training_batches)
    left = math.inf
    if (trainer.max_epochs or -1) > 0:
        left = per_epoch * trainer.max_epochs - (total - pace.batches)  # type: ignore[operator]
    if trainer.max_steps > 0:
        done = max(1, trainer.global_step)
        left = min(left, pace.batches + (trainer.max_steps - done) * total / done)
    return pace.words(
        images_per_batch=None if size is None else size * trainer.world_size,
        batches_per_epoch=per_epoch,
        batches_left=left,
        resumed=total > pace.batches,
    )


def _refuse_empty_training(trainer: Trainer) -> None:
    if trainer.num_training_batches == 0 and trainer.limit_train_batches != 0:
        images, size = _images(trainer), _or_none(per_device_batch_size, trainer)
        raise UsageError(
            f"there is no batch to train on: the training set has {_number(images)} images, and a batch on each of "
            f"{trainer.world_size} devices takes {_number(size)}: use a smaller batch_size, or drop_last=False."
        )


def _refuse_missing_labels(trainer: Trainer) -> None:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        own_bank = isinstance(callback, KNNMonitor) and callback.bank.source is not None
        if not isinstance(callback, OnlineLinearProbe | KNNMonitor) or own_bank or callback.custom_targets:
            continue
        name = type(callback).__name__
        try:
            classes = getattr(datamodule, "num_classes", None)
        except UsageError as error:
            raise UsageError(f"{name} needs labels, but {error}") from error
        if isinstance(callback, OnlineLinearProbe) and isinstance(classes, int) and classes != callback.num_classes:
            raise UsageError(
                f"{name} has num_classes={callback.num_classes}, but {type(datamodule).__name__} has {classes} "
                f"classes: give num_classes={classes}."
            )


def _warnings(trainer: Trainer, module: LightningModule) -> Iterator[str]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    images, effective = _images(trainer), _or_none(effective_batch_size, trainer)
    if images is not None and effective is not None and images < effective:
        yield (
            f"the training set has {images:,} images, fewer than the effective batch of {effective:,}: steps are "
            "smaller than the learning rate is meant for. Use a smaller batch_size or less accumulation."
        )
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    size = _or_none(per_device_batch_size, trainer)
    enough = (size or 0) >= getattr(module, "own_statistics_from", math.inf)
    if norms and not enough and (gpus := _gpus(trainer)) > 1:
        yield (
            f"{len(norms)} batch norms see {_number(size)} images each on {gpus} GPUs, and the ranks' statistics "
            "differ: use Trainer(sync_batchnorm=True)."
        )
    teacher = bool(getattr(module, "ema_pairs", list)())
    queues = [name for name, _ in module.named_buffers() if "queue" in name.lower() or "center" in name.lower()]
    averaging = getattr(lightning_module("callbacks"), "WeightAveraging", ())
    if (teacher or queues) and any(isinstance(callback, averaging) for callback in callbacks):
        what = "a teacher" if teacher else f"the buffer {queues[0]}"
        yield (
            f"WeightAveraging averages the whole module, and {type(module).__name__} has {what}: it is averaged too, "
            "and validation sees the averages. Take it out, since the teacher is an average, or give use_buffers=False."
        )
    swa = lightning_module("callbacks").StochasticWeightAveraging
    if teacher and any(isinstance(callback, swa) for callback in callbacks):
        yield (
            f"StochasticWeightAveraging averages all parameters, and {type(module).__name__} has a teacher: it is "
            "averaged too, and trains its batch norms alone in one more pass. Take it out: the teacher is an average."
        )
    if teacher and str(trainer.precision) in ("bf16-true", "16-true"):
        yield (
            f"precision={trainer.precision} with a teacher: its small steps are rounded away, so it stands still. Use "
            f"{str(trainer.precision).replace('true', 'mixed')}."
        )
    steps = _or_none(total_steps, trainer)
    _, warmup = _learning_rate(trainer)
    if warmup is not None and steps is not None and warmup >= steps - 1 > 0 and not hasattr(module, "warmup_epochs"):
        yield f"the learning rate rises for all of the {steps:,} steps: make the warm-up shorter than the run."
    monitors = [type(callback).__name__ for callback in callbacks if isinstance(callback, KNNMonitor)]
    if monitors and not trainer.enable_validation:
        yield f"{monitors[0]} measures at validation, but there is none: give a val_dataloader and a validation_step."


def _learning_rate(trainer: Trainer) -> tuple[float | None, int | None]:
    """The highest learning rate of the run, and after how many steps it is reached if it rises to it."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    # Some schedules write the peak, and all the learning rate before them, into the group.
    written = [[group.get(name) for name in ("max_lr", "initial_lr", "lr")] for group in groups]
    rates = [[float(rate) for rate in names if isinstance(rate, Real | Tensor)] for names in written]
    peak = max((names[0] for names in rates if names), default=None)
    schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
    if not schedules:
        return peak, None if peak is None else 0
    return peak, schedules[0].warmup if isinstance(schedules[0], Schedule) else None


def _images(trainer: Trainer) -> int | None:
    return length_of(getattr(first_loader(trainer.train_dataloader), "dataset", None))


def _gpus(trainer: Trainer) -> int:
    return trainer.world_size if trainer.strategy.root_device.type == "cuda" else 0


def _or_none(fact: Any, trainer: Trainer) -> int | None:
    try:
        return int(fact(trainer))
    except UsageError:
        return None


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _show(title: str, facts: dict[str, str]) -> None:
    try:
        from rich.console import Console
    except ImportError:
        print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
        return
    Console().print(TextTable(["", ""], list(map(list, facts.items())), title=title, bold=[0], header=False))
