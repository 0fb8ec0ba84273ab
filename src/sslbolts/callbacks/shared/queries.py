"""The base of the monitors that judge features of the validation or test images."""

import copy
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer, rank_zero_info, rank_zero_warn
from sslbolts.batch import class_labels, given_targets, multi_hot_labels
from sslbolts.callbacks.shared.features import FeatureFunction, FeatureReader, NoFeaturesError
from sslbolts.checks.multi_hot import is_one_hot
from sslbolts.distributed import all_sum
from sslbolts.errors import UsageError
from sslbolts.training.rows import EvaluationRows, first_loader
from sslbolts.training.undisturbed import isolated

__all__ = ["QueryMonitor"]

_HALF_PRECISION = 0.05  # relative difference of the same features, at most


class QueryMonitor(Callback):
    """Reads features and labels of the first validation (or test) loader, batch by batch; a subclass judges them.

    A subclass says whether it is :meth:`due`, keeps what it needs in :meth:`collect`, logs in :meth:`report`, and lets
    go of it in :meth:`forget`.

    Args:
        name: of the monitor, in messages.
        features: see :class:`~sslbolts.callbacks.shared.features.FeatureReader`.
        targets: callable ``batch -> (B,)``; None knows ViewBatch, ``(x, y, ...)`` and mappings.
        multi_label: whether an image may show several classes, so that labels are rows ``(B, C)``; None is what the
            DataModule declares, and False without one that does.

    Attributes:
        has_bank: whether queries are compared with images that no step sees, so that features of both must be made in
            the same way. Those of the first batch of each evaluation are made in both ways. Where they differ, a
            submodule's are not taken from the step, and others are refused.
    """

    has_bank: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        features: str | FeatureFunction | None,
        targets: Callable[[Any], Any] | None,
        *,
        multi_label: bool | None = False,
    ) -> None:
        self.name = name
        self._declared_multi_label = multi_label
        self.multi_label = bool(multi_label)  # which setup settles
        self.custom_targets = targets is not None
        self.features = features
        self._targets = targets or given_targets
        self._reader = FeatureReader(features)
        self._rows: EvaluationRows | None = None  # None while nothing is measured
        self._counted: list[Tensor] = []  # of each batch (rows,) bool, whether it had features
        self._before: tuple[Any, Tensor | None] = None, None  # batch and labels as the step got them
        self._compared = self._by_own = False  # step and bank; whether steps are not read in this evaluation
        self._said: set[str] = set()
        self._one_hot_said = False

    # ------------------------------------------------------------------ what a subclass says

    def due(self, trainer: Trainer) -> bool:
        """Whether this pass over the images is measured."""
        return True

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find what an evaluation needs, on all ranks together: not each of them may get a batch."""

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        """Keep what is needed of a batch: features ``(B, D)``, float32, and labels ``(B,)``, -1 for none.

        With ``multi_label`` labels are ``(B, C)`` of 1, 0, and -1 for what is not known.
        """
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
        return self._reader.own(trainer, pl_module, batch)

    def targets(self, batch: Any) -> Tensor:
        """Labels ``(B,)`` int64 of a batch; with ``multi_label`` rows ``(B, C)``, whose numbers are not looked at."""
        with isolated() if self.custom_targets else nullcontext():
            found = self._targets(batch)
        if self.multi_label:
            return multi_hot_labels(found)
        if not self._one_hot_said and is_one_hot(found):
            self._one_hot_said = True
            rank_zero_info(
                f"{self.name}: labels are rows of {found.shape[1]} numbers with a single 1, taken as class numbers; "
                "where an image may show several classes, give multi_label=True."
            )
        return class_labels(found)

    def step_begins(self, batch: Any) -> None:
        """Keep the batch and its labels, which a step may take out of it."""
        kept = copy.copy(batch) if isinstance(batch, MutableMapping | list) else batch
        try:
            self._before = kept, self.targets(batch)
        except Exception:  # labels that a step puts in are looked for after it
            self._before = kept, None

    def step_ended(self, batch: Any) -> tuple[Any, Tensor]:
        """The batch as the step got it, and its labels ``(B,)``."""
        (before, targets), self._before = self._before, (None, None)
        return before, self.targets(batch) if targets is None else targets

    def say(self, message: str) -> None:
        """A warning that a run needs once."""
        if message not in self._said:
            self._said.add(message)
            rank_zero_warn(f"{self.name}: {message}")

    # ------------------------------------------------------------------ hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._declared_multi_label is None:
            self.multi_label = bool(getattr(trainer.datamodule, "multi_label", False))  # type: ignore[attr-defined]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader.check(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        if not trainer.sanity_checking and self.due(trainer):
            self._rows = EvaluationRows(first_loader(trainer.val_dataloaders))
            self.prepare(trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._reader.start(pl_module, recording=dataloader_idx == 0)
        if self._rows is not None and dataloader_idx == 0:
            self.step_begins(batch)

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
            self._reader.detach()
            return
        before, targets = self.step_ended(batch)
        features = self._features(trainer, pl_module, batch, outputs, before, rows=len(targets))
        self._rows.add(before, len(targets))
        self._counted.append(torch.full((len(targets),), features is not None))
        if features is None:
            return
        if len(targets) != len(features):
            raise UsageError(f"{self.name}: {len(features)} rows of features but {len(targets)} labels in evaluation.")
        self.collect(trainer, pl_module, before, features, targets.to(features.device))

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module, prefix="")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader.check(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        if self.due(trainer):
            self._rows = EvaluationRows(first_loader(trainer.test_dataloaders))
            self.prepare(trainer, pl_module)

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
        self._said = set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._reader.detach()
        self._stop()

    def _finish(self, trainer: Trainer, pl_module: LightningModule, *, prefix: str) -> None:
        if self._rows is not None:
            counted = torch.cat([*self._counted, torch.empty(0, dtype=torch.bool)]).to(pl_module.device)
            first_seen = self._rows.first_seen(pl_module.device)[counted]
            rows, all_rows = all_sum(
                torch.stack([counted.sum(), counted.new_tensor(len(counted), dtype=torch.int64)])
            ).tolist()
            if rows or not all_rows:
                self.report(trainer, pl_module, first_seen, prefix=prefix)
            else:
                self.say(f'no evaluation step ran "{self.features}", and forward does not either: nothing is logged.')
        self._stop()

    def _features(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, outputs: Any, before: Any, *, rows: int
    ) -> Tensor | None:
        """Features of an evaluation batch; None where it has none, and is left out."""
        if self._by_own:
            self._reader.detach()
            return self.features_of(trainer, pl_module, before)
        try:
            features = self._reader.read(trainer, pl_module, batch, outputs, before=before, rows=rows)
        except NoFeaturesError:
            if self.has_bank:
                raise
            return None
        if features is not None and self.has_bank and self._reader.of_step and not self._compared:
            self._compared = True
            features = self._as_bank(trainer, pl_module, before, features)
        return features

    def _as_bank(self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor) -> Tensor:
        """Features that a step made, or others, if the bank's are made in another way.

        Raises:
            UsageError: if they differ, and what the step gives was asked for.
        """
        own = self.features_of(trainer, pl_module, batch)
        if own.shape == features.shape:
            difference, size = (own - features).norm(), features.norm()
            if not bool(difference > _HALF_PRECISION * size):  # NaN is another matter
                return features
        name = type(pl_module).__name__
        if isinstance(self.features, str):
            self.say(
                f'the step of {name} gives other features of "{self.features}" than a pass of the same images without '
                "the step: queries are made by such a pass, as the bank is."
            )
            self._by_own = True
            return own
        if callable(self.features):
            raise UsageError(
                f"{self.name}: features= gives others {tuple(features.shape)} with outputs of the step of {name} than "
                f"of the same images without {tuple(own.shape)}, but queries would have the former and the bank the "
                "latter: make them the same."
            )
        raise UsageError(
            f'{self.name}: the step of {name} returns other outputs["features"] {tuple(features.shape)} than {name}\'s '
            f"forward gives of the same images {tuple(own.shape)}, but queries would have the former and the bank "
            "the latter: make them the same, or pass features= the name of a submodule or a callable."
        )

    def _stop(self) -> None:
        self._rows, self._counted, self._before = None, [], (None, None)
        self._compared = self._by_own = False
        self.forget()
