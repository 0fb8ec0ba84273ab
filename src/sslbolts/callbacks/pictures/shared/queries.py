"""The base of the pictures that show features of the validation images."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer, rank_zero_warn
from sslbolts.batch import images_of, indices_of
from sslbolts.callbacks.pictures.shared.images import displayable, targets_or_none
from sslbolts.callbacks.pictures.shared.publisher import Publisher
from sslbolts.callbacks.shared.features import FeatureFunction
from sslbolts.callbacks.shared.queries import QueryMonitor
from sslbolts.checks import whole
from sslbolts.distributed import gather_or_none, rank, world_size
from sslbolts.pictures.style import thumbnails
from sslbolts.training.own_loader import OwnLoader
from sslbolts.training.passes import run_pass
from sslbolts.training.stratified import even

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["QueryPicture", "rows_of"]

_FEWEST = 4  # images of a picture


class QueryPicture(QueryMonitor):
    """Keeps features, labels and small copies of validation (or test) images; a subclass draws them.

    They are taken evenly from all batches, since data sets are often sorted by class. Where a DataModule of
    :mod:`sslbolts.data` holds no validation images, the pictures are of training images, under evaluation transforms.

    Args:
        picture: name of the picture.
        features: see :class:`~sslbolts.callbacks.shared.features.FeatureReader`.
        targets: callable ``batch -> (B,)``; None knows ``(x, y, ...)`` and mappings, and does without labels.
        max_images: keep so many of all ranks together.
        class_names: None takes those of the DataModule.
        every_n_epochs: see :class:`~sslbolts.callbacks.pictures.shared.publisher.Publisher`.
        folder: see :class:`~sslbolts.callbacks.pictures.shared.publisher.Publisher`.
    """

    def __init__(
        self,
        picture: str,
        *,
        features: str | FeatureFunction | None,
        targets: Callable[[Any], Tensor] | None,
        max_images: int,
        class_names: Sequence[str] | None,
        every_n_epochs: int,
        folder: str | Path | None,
    ) -> None:
        whole(_FEWEST, max_images=max_images)
        super().__init__(type(self).__name__, features, targets or self._targets_or_none, multi_label=None)
        self.publisher = Publisher(picture, every_n_epochs=every_n_epochs, folder=folder)
        self.max_images = max_images
        self.class_names = class_names
        self.left_out = ""  # what the title says of images that cannot be drawn, or are none of validation
        self.of_training = False  # whether the pictures are of training images
        self._kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # images, features, labels, rows of this rank
        self._seen = 0
        self.rows = torch.empty(0, dtype=torch.int64)  # of pictures of training images: rows of their data set

    @abstractmethod
    def draw(
        self, trainer: Trainer, images: Tensor, features: Tensor, targets: Tensor, computed: Any
    ) -> "Figure | None":
        """The figure, drawn on rank 0; None if there is nothing to draw.

        Args:
            trainer: that runs.
            images: ``(N, C, H, W)`` uint8, at most 96 pixels wide, of all ranks.
            features: ``(N, D)`` float32, on the CPU.
            targets: ``(N,)``, -1 where an image has no label.
            computed: what :meth:`compute` returned.
        """

    def compute(
        self, trainer: Trainer, pl_module: LightningModule, images: Tensor, features: Tensor, targets: Tensor
    ) -> Any:
        """Results that :meth:`draw` needs besides, found on all ranks, which all have the same images."""

    def _targets_or_none(self, batch: Any) -> Tensor:
        return targets_or_none(batch, multi_label=self.multi_label)

    def targets(self, batch: Any) -> Tensor:
        """Labels ``(B,)``; all -1 where images may show several classes, which pictures do not show."""
        if self.multi_label:
            return targets_or_none(batch, multi_label=True)
        return super().targets(batch)

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self.publisher.name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.publisher.begin(trainer)

    def due(self, trainer: Trainer) -> bool:
        self.of_training = False
        return self.publisher.due(trainer)

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not _holds_nothing_out(data) or not self.publisher.due_without_validation(trainer):
            return
        self.of_training = True
        loader = OwnLoader(data.train_images_dataloader())
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            loader = loader.first(int(trainer.limit_train_batches) * world_size())

        def small(batch: Any) -> Tensor:
            return thumbnails(displayable(images_of(batch), data)).to(pl_module.device)

        with self.publisher.attempt():
            loader = loader.only(even(loader.images or 0, self.max_images))
            readers: list[Callable[[Any], Tensor]] = [small, partial(self.features_of, trainer, pl_module), rows_of]
            found = run_pass(trainer, pl_module, loader, readers=readers, targets=self.targets).gathered()
        if self.publisher.is_off(trainer):
            return
        images, features, rows = (x.cpu() for x in found.features)
        self.rows = rows
        path = self.publisher.path(trainer)
        self._picture(trainer, pl_module, path, images, features, found.targets.cpu())
        self.forget()

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        rows = even(len(features), self._per_batch(trainer))
        if len(rows):
            with self.publisher.attempt():
                images = displayable(images_of(batch)[rows], trainer.datamodule)  # type: ignore[attr-defined]
                self._kept.append((thumbnails(images), features[rows], targets[rows].long(), self._seen + rows))
        self._seen += len(features)

    def report(self, trainer: Trainer, pl_module: LightningModule, first_seen: Tensor, *, prefix: str) -> None:
        device = pl_module.device
        mine: list[Tensor | None] = [None, None, None]
        with self.publisher.attempt():
            if self._kept:
                *kept, rows = (torch.cat(parts).to(device) for parts in zip(*self._kept))
                mine = [x[first_seen[rows]] for x in kept]
        if self.publisher.is_off(trainer):
            return
        # Collectives of an accelerator's process group take tensors on that device only.
        gathered = [x.cpu() for own in mine if (x := gather_or_none(own, device)) is not None]
        if not gathered:
            return
        images, features, targets = gathered
        self._picture(trainer, pl_module, self.publisher.path(trainer), images, features, targets)

    def _picture(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        path: Path,
        images: Tensor,
        features: Tensor,
        targets: Tensor,
    ) -> None:
        """Draw what all ranks have found, and publish it."""
        finite = features.isfinite().all(1)  # of all ranks' images, so that all ranks find the same
        missing = int((~finite).sum())
        whose = ", of training images, as none are held out" if self.of_training else ""
        self.left_out = whose + (f", without {missing:,} whose features are not finite" if missing else "")
        if missing and len(finite) - missing < _FEWEST:
            rank_zero_warn(
                f"{type(self).__name__} draws nothing after epoch {self.publisher.passed(trainer)}: features of "
                f"{missing:,} of {len(finite):,} {'training' if self.of_training else 'validation'} images are NaN or "
                "infinite."
            )
            return
        images, features, targets = images[finite], features[finite], targets[finite]
        chosen = even(len(images), self.max_images)
        images, features, targets = (x[chosen] for x in (images, features, targets))
        if self.of_training:
            self.rows = self.rows[finite][chosen]
        with self.publisher.attempt():
            computed = self.compute(trainer, pl_module, images, features, targets)
            if rank() == 0:
                figure = self.draw(trainer, images, features, targets, computed)
                if figure is not None:
                    self.publisher.publish(trainer, figure, path)

    def forget(self) -> None:
        self._kept, self._seen = [], 0

    def _per_batch(self, trainer: Trainer) -> int:
        """Number of images of a batch that are kept."""
        batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        number = batches[0] if batches else 1
        if number == float("inf"):  # nobody knows how many will come: the first
            return max(0, -(-self.max_images // world_size()) - sum(len(kept[0]) for kept in self._kept))
        return -(-self.max_images // (max(1, int(number)) * world_size()))


def _holds_nothing_out(data: Any) -> bool:
    """True for a DataModule of ``sslbolts.data`` whose training images can be read, and that has no others."""
    if not all(hasattr(data, name) for name in ("has_images", "train_images_dataloader")):
        return False
    return getattr(data, "has_rows", True) and not data.has_images("val")


def rows_of(batch: Any) -> Tensor:
    """The rows of a batch of evaluation images in their data set ``(B,)``."""
    rows = indices_of(batch)
    assert rows is not None
    return rows
