"""The pooled maps of a data set, computed once and kept in memory, in batches for a Trainer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts.batch import ViewBatch
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.evaluation.accuracy import check_finite
from sslbolts.evaluation.layers.maps import PooledMaps
from sslbolts.progress import late_bar

__all__ = ["stored_loader"]


def stored_loader(
    maps: PooledMaps,
    crops: SSLDataModule,
    split: Split,
    *,
    device: torch.device,
    batch_size: int,
    seed: int | None,
) -> DataLoader[ViewBatch]:
    """Batches of the maps of a split, whose views are the layers' pooled maps ``(B, D_l)``.

    Args:
        maps: the network and its layers; it goes to the device, and into eval mode.
        crops: a DataModule, whose images are taken under evaluation transforms, once.
        split: "train", "val" or "test".
        device: where maps are computed; they are kept on the CPU, in half precision.
        batch_size: images of a batch.
        seed: of the order in every epoch; None keeps that of the images.

    Raises:
        UsageError: if maps are not finite in half precision.
    """
    order = None if seed is None else torch.Generator().manual_seed(seed)
    stored = _stored(maps, crops, split, device)
    return DataLoader(stored, batch_size, shuffle=order is not None, generator=order, collate_fn=_as_is)


class _StoredMaps(Dataset[ViewBatch]):
    """Pooled maps in memory, in half precision; an index of several rows gives a batch."""

    def __init__(self, maps: list[Tensor], targets: Tensor) -> None:
        self.maps = maps
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: Sequence[int]) -> ViewBatch:
        index = torch.as_tensor(rows)
        return ViewBatch([layer[index] for layer in self.maps], self.targets[index], index)


@torch.no_grad()
def _stored(maps: PooledMaps, crops: SSLDataModule, split: Split, device: torch.device) -> _StoredMaps:
    made: list[list[Tensor]] = [[] for _ in maps.layers]
    targets = []
    loader = crops.evaluation_dataloader(split)
    maps.to(device).eval()
    for batch in late_bar(loader, f"Maps ({split})"):
        images, labels, _ = crops.on_after_batch_transfer([part.to(device) for part in batch], 0)
        for rows, layer in zip(made, maps(images)):
            rows.append(layer.half().cpu())
        targets.append(labels.cpu())
    stored = [torch.cat(rows) for rows in made]
    for layer, values in zip(maps.layers, stored):
        advice = "The network has diverged, or they exceed half precision, which augment=True does without."
        check_finite(values.isfinite().all(1), f"maps of the layer {layer}", advice)
    return _StoredMaps(stored, torch.cat(targets))


def _as_is(batch: Any) -> Any:
    return batch
