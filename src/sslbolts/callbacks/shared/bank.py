"""The labeled images that queries are compared with."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.checks.multi_hot import has_label
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.training.own_loader import OwnLoader
from sslbolts.training.passes import Pass, run_pass
from sslbolts.training.rows import refuse_stream
from sslbolts.training.stratified import even, spread, stratified
from sslbolts.training.undisturbed import isolated

__all__ = ["Bank"]


class Bank:
    """Finds the bank's loader, and limits it to a number of images.

    Args:
        source: a loader, a callable that makes one, or None for the DataModule's.
        max_rows: at most so many images, each class in proportion (without labels, at equal distances); None for all.
        targets: labels of a batch.
        labels: whether its images must have labels; else a DataModule without any gives its training images.
        several: whether images may show several classes, of which labels are rows ``(B, C)``.
    """

    def __init__(
        self,
        source: Any,
        *,
        max_rows: int | None,
        targets: Callable[[Any], Tensor],
        labels: bool = True,
        several: Callable[[], bool] = lambda: False,
    ) -> None:
        self.source = source
        self.labels = labels
        self.max_rows = max_rows
        self.targets = targets
        self.several = several
        self._loader: OwnLoader | None = None

    def loader(self, trainer: Trainer, module: LightningModule) -> OwnLoader:
        """The loader, made at the first call.

        Raises:
            UsageError: if there is no bank.
        """
        if self._loader is None:
            with isolated():  # what it draws to choose images must not shift what training draws
                found = self._find(trainer)
            most = None
            if trainer.fast_dev_run:  # type: ignore[attr-defined]
                most = int(trainer.limit_val_batches) * world_size()
            bank = OwnLoader(found)
            if self.max_rows is not None:
                labels = bank.labels() if not self.several() else None
                if labels is None:  # load the images once, without the network
                    labels = run_pass(trainer, module, bank, readers=[], targets=self.targets).gathered().targets
                if self._counted(labels) > self.max_rows:
                    bank = bank.only(self._share(labels))
            self._loader = bank.first(most)
        return self._loader

    def forget(self) -> None:
        """Look for the loader anew the next time."""
        self._loader = None

    def whole(self, share: Pass) -> Pass:
        """The rows that all ranks have read, on every rank."""
        bank = share.gathered()
        if self.max_rows is None or len(bank.targets) <= self.max_rows:
            return bank
        # The loader is one that cannot be told which images to give.
        rows = self._share(bank.targets).to(bank.targets.device)
        return Pass([x[rows] for x in bank.features], bank.targets[rows], bank.order[rows])

    def _counted(self, labels: Tensor) -> int:
        labeled = int(has_label(labels).sum())
        return labeled if labeled or self.labels else len(labels)

    def _share(self, labels: Tensor) -> Tensor:
        assert self.max_rows is not None
        if labels.ndim == 2:
            return spread(has_label(labels), self.max_rows)
        if bool((labels >= 0).any()) or self.labels:
            return stratified(labels, self.max_rows)
        return even(len(labels), self.max_rows)

    def _find(self, trainer: Trainer) -> Any:
        if self.source is not None:
            return self.source() if callable(self.source) else self.source
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not self.labels and _is_unlabeled(datamodule):
            refuse_stream(datamodule, "NeighborSheet (without bank=)")
            return datamodule.train_images_dataloader()
        if hasattr(datamodule, "bank_dataloader"):
            return datamodule.bank_dataloader()
        lack = (
            "there is no DataModule" if datamodule is None else f"{type(datamodule).__name__} has no bank_dataloader()"
        )
        raise UsageError(
            f"KNNMonitor has no bank: bank= was not given and {lack}. Pass bank= a DataLoader of labeled (x, y) "
            "batches, or a callable that makes one: usually the training images without augmentation."
        )


def _is_unlabeled(datamodule: Any) -> bool:
    """Whether this is a DataModule of ``sslbolts.data`` whose bank would have no labels."""
    if not all(hasattr(datamodule, name) for name in ("has_images", "images", "train_images_dataloader")):
        return False
    return not (datamodule.has_images("bank") and datamodule.images("bank").labeled)
