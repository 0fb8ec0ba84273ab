"""Validation images beside their nearest images of a bank, drawn at validation."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.batch import images_of
from sslbolts.callbacks.knn import KNNMonitor
from sslbolts.callbacks.pictures.shared.images import class_names_of, displayable, look_of
from sslbolts.callbacks.pictures.shared.queries import QueryPicture, rows_of
from sslbolts.callbacks.shared.bank import Bank
from sslbolts.callbacks.shared.features import FeatureFunction
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from sslbolts.networks.raw_pixels import raw_pixels
from sslbolts.pictures.neighbors import choose_queries, draw_neighbors, nearest_beside_pixels
from sslbolts.pictures.style import thumbnails
from sslbolts.training.passes import Pass, prepared, run_pass
from sslbolts.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NeighborSheet"]


class _Found(NamedTuple):
    """The part of the bank that a sheet shows: images, their labels, and rows of these for each kind of features."""

    queries: Tensor
    bank: Tensor
    targets: Tensor
    rows: dict[str, Tensor]


class NeighborSheet(QueryPicture):
    """Draws validation images beside the bank's images whose features are nearest, and those of nearest raw pixels.

    Works on any module. Beside a :class:`KNNMonitor` of the same features it uses that monitor's pass over the bank;
    else it makes one of its own, over the training images themselves where a DataModule of :mod:`sslbolts.data` has no
    labels. Where that holds no validation images either, training images are drawn beside others, each left out of its
    own neighbors. Weights, random states and the Trainer's loaders stay as they are.

    Args:
        k: neighbors of each image.
        queries: images, of different classes as far as there are.
        bank: as in :class:`KNNMonitor`; None takes that of the Trainer's KNNMonitor, or
            ``trainer.datamodule.bank_dataloader()``.
        features: None takes ``outputs["features"]`` where ``validation_step`` returns it, and else ``module(x)``; the
            name of a submodule takes its output; or a callable ``(module, batch, outputs) -> (B, D)``, ``outputs``
            being None for batches of the bank.
        targets: callable ``batch -> (B,)``; None knows ``(x, y, ...)`` and mappings, and does without labels.
        max_bank: at most so many images in a bank of its own, each class in proportion (or, without labels, at equal
            distances); None for all.
        class_names: None takes those of the DataModule.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/neighbors-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range; when evaluation starts, if there is no bank.

    Example:
        >>> NeighborSheet(k=8, every_n_epochs=5).publisher.name
        'neighbors'
    """

    has_bank = True

    def __init__(
        self,
        k: int = 6,
        queries: int = 10,
        bank: Any = None,
        features: str | FeatureFunction | None = None,
        targets: Callable[[Any], Tensor] | None = None,
        *,
        max_bank: int | None = 10_000,
        class_names: Sequence[str] | None = None,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        for name, number in (("k", k), ("queries", queries)):
            if not 1 <= number <= 50:
                raise UsageError(f"{name}={number}: it must be in 1 to 50.")
        super().__init__(
            "neighbors",
            features=features,
            targets=targets,
            max_images=max(64, 20 * queries),
            class_names=class_names,
            every_n_epochs=every_n_epochs,
            folder=folder,
        )
        self.k = k
        self.queries = queries
        self.custom_targets = targets is not None
        self._bank = Bank(bank, max_rows=max_bank, targets=self.targets, labels=False)
        self._training: Bank | None = None  # of training images, where none are held out
        self._pixels: Pass | None = None  # of the bank's images, which stay the same
        self._share: tuple[Pass, Bank] | None = None

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        super().collect(trainer, pl_module, batch, features, targets)
        # Here, and not at the end of the epoch, where WeightAveraging may have changed the weights back already.
        self._bank_pass(trainer, pl_module)

    def _bank_pass(self, trainer: Trainer, pl_module: LightningModule) -> tuple[Pass, Bank]:
        """This rank's share of the bank's features, and the bank."""
        if self._share is not None:
            return self._share
        monitor = None if self.of_training else self._monitor(trainer)
        if monitor is not None:
            share, bank = monitor.bank_pass(trainer, pl_module), monitor.bank
        else:
            bank = self._own_bank(trainer)
            readers: list[Callable[[Any], Tensor]] = [partial(self.features_of, trainer, pl_module)]
            readers += [] if bank is self._bank else [rows_of]
            share = self._read(trainer, pl_module, bank, *readers)
        self._share = share, bank
        return self._share

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        monitor = self._monitor(trainer)
        (self._bank if monitor is None else monitor.bank).loader(trainer, pl_module)

    def compute(
        self, trainer: Trainer, pl_module: LightningModule, images: Tensor, features: Tensor, targets: Tensor
    ) -> _Found | None:
        share, source = self._bank_pass(trainer, pl_module)  # also on a rank without a batch: others wait for its share
        bank = source.whole(share)
        labels = bank.targets.cpu() if bank.targets.ndim == 1 else torch.full((len(bank.targets),), -1)
        if self._pixels is None:
            self._pixels = source.whole(self._read(trainer, pl_module, source, partial(_small_pixels, trainer)))
        if rank() > 0:
            return None
        chosen = choose_queries(targets, self.queries)
        rows = nearest_beside_pixels(
            type(pl_module).__name__,
            features[chosen],
            bank.features[0],
            self.k,
            query_pixels=raw_pixels(images[chosen]),
            bank_pixels=self._pixels.features[0],
            itself=self._itself(chosen, bank.features[1].cpu()) if len(bank.features) > 1 else None,
        )
        needed = torch.unique(torch.cat([found.flatten() for found in rows.values()]))
        pictures = self._images(trainer, pl_module, source, bank.order.cpu()[needed])
        places = {name: torch.searchsorted(needed, found) for name, found in rows.items()}
        return _Found(chosen, pictures, labels[needed], places)

    def draw(
        self, trainer: Trainer, images: Tensor, features: Tensor, targets: Tensor, computed: Any
    ) -> "Figure | None":
        if computed is None:
            return None
        return draw_neighbors(
            images[computed.queries],
            targets[computed.queries],
            computed.bank,
            computed.targets,
            computed.rows,
            class_names=class_names_of(trainer, self.class_names, targets, computed.targets),
            title=f"Nearest neighbors after {self.publisher.passed(trainer)} epochs{self.left_out}",
            **look_of(trainer),
        )

    def forget(self) -> None:
        super().forget()
        self._share = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._monitor(trainer) is None:
            self._bank.loader(trainer, pl_module)  # a missing bank is better named now than after an epoch

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self._bank.forget()  # another run may bring another DataModule
        self._training = None
        self._pixels = None

    def _monitor(self, trainer: Trainer) -> KNNMonitor | None:
        """A KNNMonitor that reads the same features of a bank that this sheet may use as well."""
        if self._bank.source is not None or self.custom_targets:
            return None
        monitors = [c for c in trainer.callbacks if isinstance(c, KNNMonitor)]  # type: ignore[attr-defined]
        return next((monitor for monitor in monitors if monitor.features == self.features), None)

    def _own_bank(self, trainer: Trainer) -> Bank:
        """The bank that was asked for; of pictures of training images, these, where none was."""
        if not self.of_training or self._bank.source is not None:
            return self._bank
        if self._training is None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            most = self._bank.max_rows
            self._training = Bank(data.train_images_dataloader, max_rows=most, targets=self.targets, labels=False)
        return self._training

    def _itself(self, chosen: Tensor, rows: Tensor) -> Tensor:
        """The place of each query in the bank, whose rows of the data set are ``rows``; -1 where it is not there."""
        place = {row: number for number, row in enumerate(rows.tolist())}
        return torch.tensor([place.get(row, -1) for row in self.rows[chosen].tolist()])

    def _read(self, trainer: Trainer, module: LightningModule, bank: Bank, *readers: Callable[[Any], Tensor]) -> Pass:
        return run_pass(trainer, module, bank.loader(trainer, module), readers=readers, targets=self.targets)

    def _images(self, trainer: Trainer, module: LightningModule, bank: Bank, order: Tensor) -> Tensor:
        """Small copies of these images of the bank; read by this rank alone."""
        found: dict[int, Tensor] = {}
        with undisturbed(trainer, module):
            for batch, rows in bank.loader(trainer, module).again(order):
                images = _thumbnails_of(trainer, prepared(trainer, module, batch))
                found |= {place: images[row] for place, row in rows}
        return torch.stack([found[place] for place in range(len(order))])


def _thumbnails_of(trainer: Trainer, batch: Any) -> Tensor:
    return thumbnails(displayable(images_of(batch), trainer.datamodule))  # type: ignore[attr-defined]


def _small_pixels(trainer: Trainer, batch: Any) -> Tensor:
    images = images_of(batch)
    return raw_pixels(_thumbnails_of(trainer, batch)).round().to(images.device, torch.uint8)
