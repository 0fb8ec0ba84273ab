"""The base of the monitors that judge features of the validation or test images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.batch import targets_of
from sslbolts.callbacks.shared.features import FeatureFunction, FeatureReader
from sslbolts.errors import UsageError
from sslbolts.training.rows import EvaluationRows, first_loader

__all__ = ["QueryMonitor"]


class QueryMonitor(Callback):
    """Reads features and labels of the first validation (or test) loader, batch by batch; a subclass judges them.

    A subclass says whether it is :meth:`due`, keeps what it needs in :meth:`collect`, logs in :meth:`report`, and lets
    go of it in :meth:`forget`.

    Args:
        name: of the monitor, in messages.
        features: see :class:`~sslbolts.callbacks.shared.features.FeatureReader`.
        targets: callable ``batch -> (B,)``; None knows ViewBatch, ``(x, y, ...)`` and mappings.
    """

    def __init__(
        self, name: str, features: str | FeatureFunction | None, targets: Callable[[Any], Tensor] | None
    ) -> None:
        self.name = name
        self.targets = targets or targets_of
        self.custom_targets = targets is not None
        self.features = features
        self._reader = FeatureReader(features)
        self._rows: EvaluationRows | None = None  # None while nothing is measured

    # ------------------------------------------------------------------ what a subclass says

    def due(self, trainer: Trainer) -> bool:
        """Whether this pass over the images is measured."""
        return True

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        """Keep what is needed of a batch: features ``(B, D)``, float32, and labels ``(B,)``, -1 for none."""
        raise NotImplementedError(f"{type(self).__name__} must define collect().")

    def report(self, trainer: Trainer, pl_module: LightningModule, first_seen: Tensor, *, prefix: str) -> None:
        """Log or draw what all batches gave, on all ranks.

        Args:
            trainer: that runs.
            pl_module: the module to log on.
            first_seen: ``(rows of this rank,)`` bool, False where another row shows the same image.
            prefix: of the metrics' names: none in validation, "test/" in testing.
        """
        raise NotImplementedError(f"{type(self).__name__} must define report().")

    def forget(self) -> None:
        """Let go of everything collected."""

    # ------------------------------------------------------------------ what it can use

    def features_of(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> Tensor:
        """Features ``(B, D)``, float32, of a batch that no step has seen, such as the bank's."""
        self._reader.start()
        return self._reader.read(trainer, pl_module, batch)

    # ------------------------------------------------------------------ hooks

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader.attach(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        if not trainer.sanity_checking and self.due(trainer):
            self._rows = EvaluationRows(first_loader(trainer.val_dataloaders))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._rows is not None and dataloader_idx == 0:
            self._reader.start()

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._rows is None or dataloader_idx != 0:
            return
        features = self._reader.read(trainer, pl_module, batch, outputs)
        targets = self.targets(batch).to(features.device)
        if len(targets) != len(features):
            raise UsageError(f"{self.name}: {len(features)} rows of features but {len(targets)} labels in evaluation.")
        self._rows.add(batch, len(targets))
        self.collect(trainer, pl_module, batch, features, targets)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module, prefix="")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader.attach(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        if self.due(trainer):
            self._rows = EvaluationRows(first_loader(trainer.test_dataloaders))

    def on_test_batch_start(self, *args: Any) -> None:
        self.on_validation_batch_start(*args)

    def on_test_batch_end(self, *args: Any) -> None:
        self.on_validation_batch_end(*args)

    @torch.no_grad()
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module, prefix="test/")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._reader.detach()
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._reader.detach()
        self._stop()

    def _finish(self, trainer: Trainer, pl_module: LightningModule, *, prefix: str) -> None:
        if self._rows is not None:
            self.report(trainer, pl_module, self._rows.first_seen(pl_module.device), prefix=prefix)
        self._stop()

    def _stop(self) -> None:
        self._rows = None
        self.forget()
