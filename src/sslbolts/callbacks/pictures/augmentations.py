"""The views that the network is trained on, drawn at the first batch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.batch import ViewBatch, images_of
from sslbolts.callbacks.pictures.shared.images import displayable, look_of
from sslbolts.callbacks.pictures.shared.publisher import Publisher
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from sslbolts.pictures.augmentations import draw_augmentations, draw_views
from sslbolts.pictures.style import thumbnails
from sslbolts.training.facts import is_new_run
from sslbolts.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AugmentationSheet"]


class AugmentationSheet(Callback):
    """Draws once, before the first step, what augmentation does to training images.

    With a DataModule of :mod:`sslbolts.data` it shows several draws of each kind of view, beside the image; with a
    stream or any other data the first training batch as the network gets it. Random states stay as they are.

    Args:
        images: rows, 1 to 32.
        draws: columns of each kind of view, 1 to 32.
        seed: of what is drawn.
        folder: where ``pictures/augmentations-epoch0001.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> AugmentationSheet(images=4).publisher.name
        'augmentations'
    """

    def __init__(self, images: int = 6, draws: int = 4, *, seed: int = 0, folder: str | Path | None = None) -> None:
        for name, number in (("images", images), ("draws", draws)):
            if not 1 <= number <= 32:
                raise UsageError(f"{name}={number}: it must be in 1 to 32.")
        self.images = images
        self.draws = draws
        self.seed = seed
        self.publisher = Publisher("augmentations", folder=folder)
        self._drawn = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drawn = not is_new_run(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._drawn:
            return
        self._drawn = True
        path = self.publisher.path(trainer)
        if rank() == 0:
            with self.publisher.attempt():
                with undisturbed(trainer, pl_module):
                    figure = self._of_recipe(trainer) or self._of_batch(trainer, batch)
                self.publisher.publish(trainer, figure, path)

    def _of_recipe(self, trainer: Trainer) -> "Figure | None":
        """Of a DataModule with a recipe of views and images that can be read one by one; None for others."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not all(hasattr(data, name) for name in ("views", "color", "train_images_dataloader")):
            return None
        if not getattr(data, "has_rows", True):  # a stream, of which the batch is all that can be had
            return None
        images = data.train_images_dataloader().dataset
        step = max(1, len(images) // self.images)  # data sets are often sorted by class
        spread = (row for first in range(step) for row in range(first, len(images), step))
        shown = images.stored(spread, self.images)
        return draw_augmentations(
            shown,
            data.views,
            draws=self.draws,
            seed=self.seed,
            color=data.color,
            color_channels=getattr(data, "color_channels", None),
        )

    def _of_batch(self, trainer: Trainer, batch: Any) -> "Figure":
        views = batch.views if isinstance(batch, ViewBatch) else [images_of(batch)]
        return draw_views([self._shown(trainer, view) for view in views], **look_of(trainer))

    def _shown(self, trainer: Trainer, view: Tensor) -> Tensor:
        return thumbnails(displayable(view[: self.images], trainer.datamodule))  # type: ignore[attr-defined]
