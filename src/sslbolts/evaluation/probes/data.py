"""Training images under a probe's augmentation, some of them held out to choose on."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from sslbolts._lightning import LightningDataModule
from sslbolts.batch import ViewBatch
from sslbolts.data import SSLDataModule
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import normalization
from sslbolts.evaluation.probes.linear import probe_views
from sslbolts.evaluation.probes.recipes import ProbeRecipe

__all__ = ["ProbeData"]


class ProbeData(LightningDataModule):
    """A DataModule's images for a probe: trained on under the recipe's crops, held-out ones validated as they are.

    Held-out images go through training with label -1, which has no part in a probe's loss.

    Args:
        data: the images.
        encoder: by whose mean and deviation they are normalized, where these are known.
        recipe: whose augmentation is used.
        batch_size: images per device and step.
        held: ``(N,)`` bool, training images to choose on; empty for none.
    """

    def __init__(
        self, data: SSLDataModule, encoder: Encoder, recipe: ProbeRecipe, *, batch_size: int, held: Tensor
    ) -> None:
        super().__init__()
        mean, std = normalization(encoder, data)
        views = probe_views(recipe, data.image_size, normalize=mean is not None)
        self.data = data.with_views(views, mean=mean, std=std)
        self.data.batch_size = batch_size
        self.data.drop_last = False
        self.data.labels_per_class = None
        self.in_chans = data.in_chans
        self.held = held

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)

    def train_dataloader(self) -> Any:
        """One view of each image."""
        return self.data.train_dataloader()

    def val_dataloader(self) -> Any:
        """Held-out training images under evaluation transforms."""
        if not self.held.any():
            return []
        bank = self.data.train_images_dataloader()
        rows = Subset(bank.dataset, self.held.nonzero().squeeze(1).tolist())
        return DataLoader(rows, batch_size=bank.batch_size, collate_fn=bank.collate_fn, num_workers=bank.num_workers)

    def test_dataloader(self) -> Any:
        """The images that decide."""
        return self.data.test_dataloader() or self.data.val_dataloader()

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finishes the batch, and hides the labels that are not to be learned from."""
        batch = self.data.on_after_batch_transfer(batch, dataloader_idx)
        if isinstance(batch, ViewBatch):
            self.held = self.held.to(batch.indices.device)
            batch = batch._replace(targets=batch.targets.masked_fill(self.held[batch.indices], -1))
        return batch
