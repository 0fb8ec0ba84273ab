"""The base of the pictures that show the network at work on a few validation images."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.callbacks.pictures.shared.images import class_names_of, displayable, targets_or_none
from sslbolts.callbacks.pictures.shared.publisher import Publisher
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from sslbolts.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FirstImages"]


class FirstImages(Callback):
    """Runs the network on the first images of the first validation (or test) batch; a subclass says how, and draws.

    The network is in eval mode and random states come back, so the run is as without the picture.

    Args:
        picture: name of the picture.
        images: how many.
        class_names: None takes those of the DataModule.
        every_n_epochs: see :class:`~sslbolts.callbacks.pictures.shared.publisher.Publisher`.
        folder: see :class:`~sslbolts.callbacks.pictures.shared.publisher.Publisher`.
    """

    def __init__(
        self,
        picture: str,
        *,
        images: int,
        class_names: Sequence[str] | None,
        every_n_epochs: int,
        folder: str | Path | None,
    ) -> None:
        if not 1 <= images <= 32:
            raise UsageError(f"images={images}: it must be in 1 to 32.")
        self.images = images
        self.class_names = class_names
        self.publisher = Publisher(picture, every_n_epochs=every_n_epochs, folder=folder)
        self._due = False
        self._found: tuple[Tensor, Any, list[str] | None] | None = None  # images, what the network made of them, labels

    @abstractmethod
    def look(self, pl_module: LightningModule, images: Tensor) -> Any:
        """The network's answer to images ``(N, C, H, W)``; called on all ranks."""

    @abstractmethod
    def draw(self, trainer: Trainer, images: Tensor, seen: Any, labels: list[str] | None) -> "Figure":
        """The figure, drawn on rank 0.

        Args:
            trainer: that runs.
            images: ``(N, C, H, W)`` uint8.
            seen: what :meth:`look` returned.
            labels: names of the images' classes, if they have any.
        """

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self.publisher.name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.publisher.begin(trainer)

    def check(self, pl_module: LightningModule) -> None:
        """Refuse a module that cannot be looked at."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(pl_module)
        self._found = None
        self._due = not trainer.sanity_checking and self.publisher.due(trainer)

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
        if batch_idx or dataloader_idx or not self._due:
            return
        # With the first batch, not at the end of the epoch, where WeightAveraging may have changed the weights back.
        with self.publisher.attempt():
            images = images_of(batch)[: self.images]
            if not len(images):
                return
            with undisturbed(trainer, pl_module), trainer.precision_plugin.forward_context():
                seen = self.look(pl_module, images)
            if rank() == 0:
                shown = displayable(images, trainer.datamodule)  # type: ignore[attr-defined]
                self._found = shown, seen, self._labels(trainer, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._due:
            return
        path, found = self.publisher.path(trainer), self._found  # here, where all ranks are: not each may get a batch
        self._due, self._found = False, None
        if found is not None:
            with self.publisher.attempt():
                self.publisher.publish(trainer, self.draw(trainer, *found), path)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_batch_end(self, *args: Any) -> None:
        self.on_validation_batch_end(*args)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_epoch_end(trainer, pl_module)

    def _labels(self, trainer: Trainer, batch: Any) -> list[str] | None:
        several = bool(getattr(trainer.datamodule, "multi_label", False))  # type: ignore[attr-defined]
        targets = targets_or_none(batch, multi_label=several)[: self.images].cpu()
        names = class_names_of(trainer, self.class_names, targets)
        if names is None:
            return None
        return [names[label] if label >= 0 else "" for label in targets.tolist()]
