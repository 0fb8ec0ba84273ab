"""The LightningModule under everything that trains here: a bar that nobody waits for, draws that can be resumed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule
from sslbolts.training.facts import epochs_done, steps_done
from sslbolts.training.resumption import known_metrics, resume_exactly, row_due
from sslbolts.training.seeds import generator, mix, seed_devices

__all__ = ["TrainingModule"]


class TrainingModule(LightningModule):
    """A LightningModule whose progress bar does not wait, and whose draws depend on (seed, epoch, batch, rank) alone.

    Lightning reads what it logs for the progress bar at once and in every step, also where there is no bar: a GPU then
    never gets work ahead of time. Here ``self.log(name, value, prog_bar=True)`` logs the value in full, and gives the
    bar a copy that arrives when the device comes to it, a step or so later, under the last part of its name:
    ``train/loss`` is shown as ``loss``. The first step of a run shows nothing.

    What dropout, masks and the like draw begins anew in every batch, from a seed that is rank 0's when the run starts
    and stands in its checkpoints. So a resumed run draws what the uninterrupted one would have drawn.

    Example:
        >>> class Module(TrainingModule):
        ...     def training_step(self, batch, batch_idx):
        ...         loss = batch[0].mean() * self.weight
        ...         self.log("train/loss", loss, prog_bar=True)
        ...         return loss
    """

    _seed: int = 0
    _resumed_seed: int | None = None

    def log(self, name: str, value: Any, prog_bar: bool = False, *args: Any, **options: Any) -> None:
        """See ``LightningModule.log``."""
        late = prog_bar and isinstance(value, Tensor) and self._trainer is not None and self.trainer.training
        super().log(name, value, prog_bar and not late, *args, **options)
        if late:
            self._show(name, value.detach().squeeze())

    @property
    def steps_done(self) -> int:
        """Optimizer steps of this module's run so far."""
        return steps_done(self.trainer)

    @property
    def epochs_done(self) -> int:
        """Epochs of this module's run that are over."""
        return epochs_done(self.trainer)

    def generator(self, batch_idx: int, *more: int, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator in a state that is equal on all ranks, a function of seed, epoch, batch and ``more``."""
        return generator(self._seed, self.current_epoch, batch_idx, *more, device=device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["sslbolts_seed"] = self._seed
        if self._trainer is not None:
            checkpoint["sslbolts_metrics"] = known_metrics(self.trainer)
            checkpoint["sslbolts_row"] = row_due(self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None:  # a run is resumed, and goes on drawing what it would have drawn
            self._resumed_seed = checkpoint.get("sslbolts_seed")
            if self.trainer.state.fn == "fit":
                stored = (checkpoint.get(f"sslbolts_{name}") for name in ("metrics", "row"))
                resume_exactly(self.trainer, checkpoint, *stored)

    def on_fit_start(self) -> None:
        own = torch.initial_seed() % 2**63
        self._seed = self.trainer.strategy.broadcast(own) if self._resumed_seed is None else self._resumed_seed
        self._resumed_seed = None

    def teardown(self, stage: str) -> None:
        """Takes the callbacks that this module brought off the Trainer, which may be given another module next."""
        brought = self.configure_callbacks()
        types = {type(callback) for callback in (brought if isinstance(brought, Sequence) else [brought])}
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        callbacks[:] = [callback for callback in callbacks if type(callback) not in types]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seeds what the module draws in this batch."""
        seed_devices(mix(self._seed, self.trainer.current_epoch, batch_idx, self.global_rank))

    def _show(self, name: str, value: Tensor) -> None:
        arrived: dict[str, Tensor] = self.__dict__.setdefault("_arrived", {})
        if name in arrived:
            last = name.rpartition("/")[2]
            super().log(f"{name}_step" if last == name else last, arrived[name], prog_bar=True, logger=False)
        else:
            arrived[name] = torch.zeros((), dtype=value.dtype, pin_memory=value.is_cuda)
        arrived[name].copy_(value, non_blocking=True)
