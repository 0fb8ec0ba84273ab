"""The data that a number is of: which folders, how many images, and a digest of them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from sslbolts._lightning import LightningDataModule
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.errors import UsageError
from sslbolts.evaluation.fingerprint import fingerprint
from sslbolts.evaluation.loaders import EvaluationData, has_loader, split_loader
from sslbolts.training.undisturbed import isolated

__all__ = ["data_identity", "identity_of"]


def data_identity(data: EvaluationData, test: EvaluationData | None = None) -> dict[str, Any]:
    """Folders, numbers of images and digest of the data of an evaluation, for a result's settings.

    Args:
        data: as of a protocol.
        test: test images, where ``data`` is one split.

    Example:
        >>> import torch
        >>> pixels = torch.utils.data.TensorDataset(torch.zeros(4, 3, 2, 2), torch.arange(4))
        >>> data_identity(pixels, pixels)["images"]
        'train 4, test 4'
    """
    datasets = dict(_splits(data))
    if test is not None:
        datasets |= {f"test ({name})" if name != "test" else name: part for name, part in _splits(test, "test")}
    return identity_of(datasets, [data] if test is None else [data, test])


def identity_of(datasets: dict[str, Any], owners: Sequence[Any]) -> dict[str, Any]:
    """The same of datasets by the names of their splits.

    Args:
        datasets: each with a length.
        owners: datasets, loaders or DataModules that know of a folder.
    """
    found: dict[str, Any] = {}
    if places := list(dict.fromkeys(place for owner in owners for place in _places(owner))):
        found["folder"] = ", ".join(places)
    counted = {name: dataset for name, dataset in datasets.items() if hasattr(dataset, "__len__")}
    if counted:
        found["images"] = ", ".join(f"{name} {len(dataset):,}" for name, dataset in counted.items())
    with isolated():  # of random transforms, always the same
        prints = [fingerprint(d) if hasattr(d, "__getitem__") and len(d) else None for d in counted.values()]
    if prints and all(prints):
        found["fingerprint"] = hashlib.sha256(" ".join(map(str, prints)).encode()).hexdigest()[:16]
    return found


def _splits(data: EvaluationData, only: str = "train") -> Iterator[tuple[str, Any]]:
    """The datasets of the splits that evaluations look at, each once."""
    if isinstance(data, SSLDataModule):
        data.prepare_data()
        data.setup()
        seen: list[Any] = []
        splits: tuple[Split, ...] = ("bank" if data.has_images("bank") else "train", "test", "val")
        for split in splits:
            if data.has_images(split) and not any(data.images(split) is other for other in seen):
                seen.append(data.images(split))
                yield split, data.evaluation_dataloader(split).dataset
        return
    names = [only]
    if isinstance(data, LightningDataModule):
        names = ["train", "test" if has_loader(data, "test_dataloader") else "val"]
    for name in names:
        try:
            yield name, getattr(split_loader(data, name, batch_size=1, num_workers=0), "dataset", None)
        except UsageError:  # there is no such split
            continue


def _places(owner: Any) -> Iterator[str]:
    """Folders that a DataModule, a loader or a dataset was given, and those of what it is made of."""
    for _ in range(8):
        given = getattr(owner, "_places", None) or {"root": getattr(owner, "root", None)}
        for place in given.values():
            for name in place if isinstance(place, list | tuple) else [place]:
                if isinstance(name, str | os.PathLike):
                    yield os.path.abspath(name)
        parts = getattr(owner, "_datasets", None) or {}
        for part in parts.values():
            yield from _places(part)
        owner = getattr(owner, "dataset", None)
        if owner is None:
            return
