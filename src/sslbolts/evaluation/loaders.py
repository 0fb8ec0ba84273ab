"""Data of any kind as a loader that gives every image of a split once, in order."""

from collections.abc import Iterable, Sized
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset, IterableDataset

from sslbolts._lightning import LightningDataModule
from sslbolts.data import SSLDataModule
from sslbolts.data.workers import worker_settings
from sslbolts.errors import UsageError

__all__ = ["EvaluationData", "has_loader", "split_loader"]

EvaluationData = LightningDataModule | DataLoader[Any] | Dataset[Any]
"""A DataModule, or one split of a data set: a loader or a map-style dataset of ``(image, label, ...)``."""

_LOADERS = {
    "train": ("train_images_dataloader", "train_dataloader"),
    "bank": ("bank_dataloader", "train_dataloader"),
    "val": ("val_dataloader",),
    "test": ("test_dataloader",),
}


def has_loader(data: LightningDataModule, name: str) -> bool:
    """True if a DataModule has a loader of its own under this name; Lightning's only raise."""
    return name in vars(data) or getattr(type(data), name, None) is not getattr(LightningDataModule, name, None)


def split_loader(data: EvaluationData, split: str, *, batch_size: int, num_workers: int) -> Iterable[Any]:
    """Every image of the split once, in order.

    Args:
        data: where they come from.
        split: "bank", "train", "val" or "test"; the name only, where ``data`` is one split.
        batch_size, num_workers: of a dataset's loader; others have their own.

    Raises:
        UsageError: for another name, or if there is no such split.
    """
    if split not in _LOADERS:
        raise UsageError(f'split="{split}": it is one of {", ".join(_LOADERS)}.')
    if isinstance(data, SSLDataModule):
        data.prepare_data()
        data.setup()
        loader = getattr(data, _LOADERS[split][0])()
        if isinstance(loader, list):
            raise UsageError(f'{type(data).__name__} has no images for "{split}".')
        return cast(Iterable[Any], loader)
    if isinstance(data, LightningDataModule):
        data = _given_loader(data, split)
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset):
            return data
        return DataLoader(
            data.dataset,
            batch_size=data.batch_size or batch_size,
            num_workers=data.num_workers,
            multiprocessing_context=data.multiprocessing_context,
            collate_fn=data.collate_fn,
        )
    if not (hasattr(data, "__getitem__") and isinstance(data, Sized)):
        raise UsageError(
            f"a {type(data).__name__} was given as data: it is a DataModule, a DataLoader, or a map-style dataset with "
            "__len__ and __getitem__."
        )
    return DataLoader(data, batch_size=batch_size, **worker_settings(num_workers))


def _given_loader(data: LightningDataModule, split: str) -> DataLoader[Any]:
    """The loader that somebody's DataModule gives for a split; the first of several."""
    data.prepare_data()
    data.setup("test" if split == "test" else "fit")
    name = _LOADERS[split][-1]
    if not has_loader(data, name):
        raise UsageError(f'{type(data).__name__} has no {name}(), which gives the images of "{split}": write one.')
    given = getattr(data, name)()
    given = given[0] if isinstance(given, list | tuple) and given else given
    if not isinstance(given, DataLoader):
        raise UsageError(f"{type(data).__name__}.{name}() gave a {type(given).__name__}, and a DataLoader is needed.")
    return given
