"""A stop for training that has diverged, before anything is saved of it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.checks import whole
from sslbolts.distributed import gather_objects, world_size
from sslbolts.errors import DivergedError
from sslbolts.optim.foreach import largest

__all__ = ["NanGuard"]

_LOSS = "the loss that training_step returns"
_MOST_NAMES = 3
_NEVER = 2**62


class NanGuard(Callback):
    """Stops a run whose weights are NaN or infinite, or whose loss stays so, and keeps its last good checkpoint.

    The error says since which step, which logged terms went first, what to try, and which checkpoint is the last one.
    No checkpoint is written of weights that are not finite, so none takes the place of a good one.

    A loss alone is no reason to stop: with ``precision="16-mixed"`` the gradient scaler skips single steps, and the
    weights stay as they are. It stops the run when it was not finite in ``patience`` steps in a row.

    Nothing waits for the device: it keeps the count itself, and what it found is read ``every_n_steps`` batches later.
    The weights (parameters, and the running statistics of batch norms) are looked at every ``every_n_steps`` batches,
    before validation, at the end of an epoch and before each checkpoint. All ranks stop at the same step. Training is
    the same, bit for bit, with this callback and without it.

    ``sslbolts fit`` and ``sslbolts demo`` have it already; one that is given takes its place. It works on any module.
    ``sslbolts fit --rewinds N`` goes on from the last good checkpoint with half the learning rate, up to N times.

    Args:
        every_n_steps: batches between two looks at the weights.
        patience: optimizer steps in a row with a loss that is not finite.

    Raises:
        UsageError: for a number below 1.
        DivergedError: in training, when it has diverged.

    Example:
        >>> NanGuard(every_n_steps=50).patience
        10
    """

    def __init__(self, *, every_n_steps: int = 10, patience: int = 10) -> None:
        whole(every_n_steps=every_n_steps, patience=patience)
        self.every_n_steps = every_n_steps
        self.patience = patience
        self._terms = _Terms()
        self._on_the_way: _Look | None = None
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._terms, self._on_the_way, self._batches = _Terms(), None, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._terms.note(_scalars(trainer, pl_module, outputs), int(trainer.global_step))
        self._batches += 1
        if self._batches % self.every_n_steps == 0:
            if self._on_the_way is not None:
                self._judge(trainer, pl_module, self._on_the_way)
            self._on_the_way = self._look(trainer, pl_module)
        if _saves_weights_alone(trainer):  # Lightning then asks no callback before it saves
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _is_fitting(trainer) and not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if _is_fitting(trainer) and trainer.state.status == "running":  # after an exception, one rank may be alone
            self._check(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Whatever ended the run, ``ModelCheckpoint(save_on_exception=True)`` writes no weights that are not finite."""
        callbacks: list[Any] = trainer.checkpoint_callbacks  # type: ignore[attr-defined]
        saving = [callback for callback in callbacks if getattr(callback, "save_on_exception", False)]
        with suppress(RuntimeError):  # of a device that can do nothing any more
            if saving and _broken(pl_module):
                for callback in saving:
                    callback.save_on_exception = False

    def _look(self, trainer: Trainer, module: LightningModule) -> "_Look":
        """Has the device say whether weights are not finite, and in how many steps in a row, up to now, the loss."""
        step = int(trainer.global_step)
        finite = _largest(module)[1].isfinite().all()
        found = torch.stack([(~finite).long(), self._terms.steps_without_loss(step, finite.device)])
        if world_size() > 1:
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return _Look(step, found)

    def _judge(self, trainer: Trainer, module: LightningModule, look: "_Look") -> None:
        broken, without_loss = look.read()
        if not broken and without_loss < self.patience:
            return
        since = {_LOSS: look.step + 1 - without_loss} if without_loss else {}
        for of_rank in gather_objects(self._terms.since()):
            for name, step in of_rank.items():
                since[name] = min(step, since.get(name, step))
        said = _said(since, _broken(module), self._terms.began)
        checkpoint = trainer.strategy.broadcast(_last_checkpoint(trainer))
        raise DivergedError(
            f"training has diverged: {said} (stopped at step {trainer.global_step}). "
            f"{_said_of(checkpoint, trainer)} Try {', '.join(_fixes(trainer, module))}.",
            checkpoint,
        )

    def _check(self, trainer: Trainer, module: LightningModule) -> None:
        self._judge(trainer, module, self._look(trainer, module))


class _Terms:
    """The step since which each logged term is not finite, kept on the device."""

    def __init__(self) -> None:
        self.began: int | None = None
        self._names: list[str] = []
        self._since = torch.empty(0, dtype=torch.int64)

    def note(self, values: Mapping[str, Tensor], step: int) -> None:
        """Count in the values of a step, all on one device."""
        if not values:
            return
        if self.began is None:
            self.began = step
        now = torch.stack([value.detach().reshape(()) for value in values.values()])
        if self._names != list(values):
            since = torch.full((len(values),), _NEVER, device=now.device)
            for row, name in enumerate(values):
                if name in self._names:
                    since[row] = self._since[self._names.index(name)]
            self._names, self._since = list(values), since
        self._since = torch.where(now.isfinite(), _NEVER, self._since.clamp(max=step))

    def steps_without_loss(self, step: int, device: torch.device) -> Tensor:
        """In how many steps in a row, up to now, the loss was not finite; on the device."""
        if _LOSS not in self._names:
            return torch.zeros((), dtype=torch.int64, device=device)
        return (step + 1 - self._since[self._names.index(_LOSS)]).clamp(min=0)

    def since(self) -> dict[str, int]:
        """The first step of each term that is not finite; waits for the device."""
        return {name: step for name, step in zip(self._names, self._since.tolist()) if step < _NEVER}


@dataclass
class _Look:
    """What was found after a step, on its way from the device."""

    step: int
    found: Tensor
    arrival: Any = None

    def __post_init__(self) -> None:
        if self.found.is_cuda:
            there = self.found
            self.found = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
            self.found.copy_(there, non_blocking=True)
            self.arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.arrival.record()

    def read(self) -> list[int]:
        """The numbers; waits only for what the device was given before them."""
        if self.arrival is not None:
            self.arrival.synchronize()
        numbers: list[int] = self.found.tolist()
        return numbers


def _scalars(trainer: Trainer, module: LightningModule, outputs: Any) -> dict[str, Tensor]:
    """The loss and all logged terms that are on the module's device."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    named = {_LOSS: loss, **trainer.callback_metrics}
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, Tensor) and value.numel() == 1 and value.device == module.device
    }


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and what batch norms have measured, with their names; of sharded ones, the part of this rank."""
    for name, parameter in module.named_parameters():
        if not is_lazy(parameter):
            yield name, parameter
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is not None and part.running_var is not None:
            yield f"{name}.running_mean", part.running_mean
            yield f"{name}.running_var", part.running_var


@torch.no_grad()
def _largest(module: LightningModule) -> tuple[list[str], Tensor]:
    """Names of the weights, and the largest absolute value of each, which is not finite if any of its values is not."""
    found = [(name, w.to_local() if hasattr(w, "to_local") else w) for name, w in _weights(module)]
    found = [(name, w.detach()) for name, w in found if w.is_floating_point() and w.numel() and not w.is_meta]
    if not found:
        return [], torch.zeros(0, device=module.device)
    return [name for name, _ in found], torch.stack([w.to(module.device) for w in largest([w for _, w in found])])


def _broken(module: LightningModule) -> list[str]:
    """Names of the weights that are not finite; waits for the device."""
    names, values = _largest(module)
    return [name for name, finite in zip(names, values.isfinite().tolist()) if not finite]


def _saves_weights_alone(trainer: Trainer) -> bool:
    """Whether a ModelCheckpoint that saves no more than weights is about to, in the middle of an epoch."""
    for callback in trainer.checkpoint_callbacks:  # type: ignore[attr-defined]
        if getattr(callback, "save_weights_only", False):
            steps = getattr(callback, "_every_n_train_steps", 0)
            if steps and trainer.global_step % steps == 0:
                return True
            interval = getattr(callback, "_train_time_interval", None)
            if interval is not None:
                soon = (
                    (getattr(callback, "_last_time_checked", None) or 0.0) + interval.total_seconds() - 1
                )  # before it does
                if trainer.strategy.broadcast(time.monotonic() >= soon):  # rank 0's clock, as there
                    return True
    return False


def _is_fitting(trainer: Trainer) -> bool:
    return bool(trainer.state.fn == "fit")


def _said(since: Mapping[str, int], broken: list[str], began: int | None) -> str:
    """Which terms are not finite since when, and which weights."""
    loss = since.get(_LOSS)
    # What never was finite while the loss was, such as an accuracy without labels, tells nothing.
    terms = {name: step for name, step in since.items() if name != _LOSS and (step != began or step == loss)}
    start = min(terms.values(), default=None) if loss is None else loss
    parts = []
    if start is not None:
        with_it = [name for name, step in terms.items() if step == start] or ["the loss"]
        before = [f"{name} since step {step}" for name, step in terms.items() if step < start]
        more = f" and {len(with_it) - _MOST_NAMES} more" if len(with_it) > _MOST_NAMES else ""
        parts.append(
            f"{', '.join(with_it[:_MOST_NAMES])}{more} {'is' if len(with_it) == 1 else 'are'} NaN or infinite since "
            f"step {start}{f' ({before[0]} already)' if before else ''}"
        )
    if broken:
        others = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        parts.append(f"weights are NaN or infinite ({broken[0]}{others})")
    return ", and ".join(parts)


def _last_checkpoint(trainer: Trainer) -> str | None:
    """The newest file that the run has left, or the one that it went on from."""
    places = {
        Path(path)
        for callback in trainer.checkpoint_callbacks  # type: ignore[attr-defined]
        for name in ("last_model_path", "best_model_path", "_last_checkpoint_saved")  # the first two may be yet to come
        if (path := getattr(callback, name, "")) and Path(path).is_file()
    }
    if places:
        return str(max(places, key=lambda place: place.stat().st_mtime))
    return None if trainer.ckpt_path is None else str(trainer.ckpt_path)


def _said_of(checkpoint: str | None, trainer: Trainer) -> str:
    """A sentence on the last good checkpoint."""
    if checkpoint is None:
        return "It had written no checkpoint yet."
    if checkpoint == str(trainer.ckpt_path):
        return f"The last good checkpoint is the one it went on from, {checkpoint}."
    return f"The last good checkpoint is {checkpoint}."


def _fixes(trainer: Trainer, module: LightningModule) -> Iterator[str]:
    rates = [
        float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups if "lr" in group
    ]
    yield f"a lower learning rate (it was {max(rates):.3g})" if rates else "a lower learning rate"
    warmup = getattr(module, "warmup_epochs", None)
    yield "a longer warm-up" if warmup is None else f"a longer warm-up (warmup_epochs={warmup:g})"
    precision = str(trainer.precision)
    if precision.startswith(("16", "bf16")):
        yield f"precision={'32-true' if precision.startswith('bf16') else 'bf16-mixed'} (it is {precision})"
    temperature = getattr(module, "temperature", None)
    if isinstance(temperature, float):
        yield f"a higher temperature (it is {temperature:g})"
    if module.automatic_optimization and not trainer.gradient_clip_val:
        yield "gradient_clip_val=1"
