"""Features of a data set's images: computed once, kept in a file, and used by every probe."""

import hashlib
import os
import re
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from sslbolts._lightning import LightningDataModule, rank_zero_warn
from sslbolts.batch import ViewBatch, images_of, indices_of, targets_of
from sslbolts.data import SSLDataModule
from sslbolts.data.evaluation import EvaluationImages
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.fingerprint import fingerprint
from sslbolts.progress import late_bar
from sslbolts.transforms import BatchedEvaluate, Evaluation, evaluation

__all__ = [
    "EvaluationData",
    "Features",
    "data_name",
    "features_of",
    "has_loader",
    "labelled_rows",
    "normalization",
    "preprocessing",
    "size_notes",
]

EvaluationData = LightningDataModule | DataLoader[Any] | Dataset[Any]
"""A DataModule, or one split of a data set: a loader or a map-style dataset of ``(image, label, ...)``."""

_LOADERS = {
    "train": ("train_images_dataloader", "train_dataloader"),
    "bank": ("bank_dataloader", "train_dataloader"),
    "val": ("val_dataloader",),
    "test": ("test_dataloader",),
}


class Features(NamedTuple):
    """Features of a split, in the order of its images.

    Attributes:
        features: ``(N, D)`` float32, on the CPU.
        targets: labels ``(N,)`` int64, -1 where unlabelled; or ``(N, C)`` where an image has several.
        indices: ``(N,)`` rows of the data set: fewer than it has where images could not be read.
    """

    features: Tensor
    targets: Tensor
    indices: Tensor


@torch.no_grad()
def features_of(
    encoder: Encoder,
    data: EvaluationData,
    split: str = "bank",
    *,
    cache: str | Path | None = None,
    batch_size: int = 256,
    num_workers: int = 0,
) -> Features:
    """Features of every image of a split under evaluation transforms, in order, in float32.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule of sslbolts, whose images are normalized by the encoder's mean and deviation where these are
            known, else by the data's. Or another DataModule, a DataLoader or a map-style dataset, whose images are
            normalized already: they are taken in the dataset's order, with the transforms it has (which should not be
            random).
        split: "bank" (labelled training images), "train", "val" or "test"; the name only, where ``data`` is one split.
        cache: folder in which the features are kept as safetensors, and found again for the same weights, layer,
            images (see :func:`~sslbolts.evaluation.fingerprint.fingerprint`) and preprocessing; None keeps nothing.
        batch_size: images at a time; a DataModule and a DataLoader have their own.
        num_workers: of a dataset's loader.

    Raises:
        UsageError: if there is no such split, or its images do not fit the encoder.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(6, 1, 2, 2), torch.arange(6) % 3)
        >>> encoder = load_encoder(torch.nn.Flatten(), in_chans=1, image_size=2, device="cpu")
        >>> found = features_of(encoder, dataset)
        >>> tuple(found.features.shape), found.targets.tolist()
        ((6, 4), [0, 1, 2, 0, 1, 2])
    """
    loader = _loader(data, split, batch_size, num_workers)
    prepare = _prepare(encoder, data)
    file = None
    if cache is not None:
        key = _key(encoder, loader, split, data)
        if key is not None:
            words = (encoder.name, encoder.layer, data_name(data), split, key[:16])
            file = Path(cache) / (re.sub(r"[^\w.-]+", "_", "-".join(words)) + ".safetensors")
            if file.is_file():
                return _load(file)

    device = encoder.device
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    seen = 0
    encoder.network.eval()
    for batch in late_bar(loader, f"Features of {data_name(data)} ({split})"):
        images = images_of(batch)
        if len(images) == 0:  # none of them could be read
            continue
        images = prepare(images.to(device, non_blocking=True))
        if images.shape[1] != encoder.preprocessing.in_chans:
            raise UsageError(
                f"{data_name(data)} has images of {images.shape[1]} channels, but {encoder.name} takes "
                f"{encoder.preprocessing.in_chans}: give the data in_chans={encoder.preprocessing.in_chans}."
            )
        features = encoder.network(images).float().cpu()
        targets = _targets(batch, len(features)).cpu()
        rows.append((features, targets, _rows(batch, loader, seen, len(features))))
        seen += len(features)
    if not rows:
        raise UsageError(f'{data_name(data)} gave no image for "{split}".')
    found = Features(*(torch.cat(column) for column in zip(*rows)))
    if file is not None:
        _save(found, file)
    return found


def labelled_rows(found: Features, *, what: str = "data") -> tuple[Tensor, Tensor]:
    """Features and labels of the images that have one.

    Args:
        found: what :func:`features_of` returned, with labels ``(N,)``.
        what: how the message calls the images.

    Raises:
        UsageError: if none has.
    """
    if found.targets.ndim != 1:
        raise UsageError(f"an image of the {what} has several labels, and this protocol takes one per image.")
    known = found.targets >= 0
    if not known.any():
        raise UsageError(f"no image of the {what} has a label, and this protocol needs them.")
    return (found.features, found.targets) if known.all() else (found.features[known], found.targets[known])


def preprocessing(encoder: Encoder, data: EvaluationData) -> dict[str, Any]:
    """What is done to an image before the network sees it: for a result's settings, and part of the cache's key."""
    if not isinstance(data, SSLDataModule):
        return {"transform": "the dataset's own"}
    mean, std = normalization(encoder, data)
    view = evaluation(data.image_size)
    found: dict[str, Any] = {
        "size": view.size,
        "shorter side": view.resize,
        "interpolation": view.interpolation,
        "mean": "none" if mean is None else [round(value, 4) for value in mean],
        "std": "none" if std is None else [round(value, 4) for value in std],
    }
    known = encoder.preprocessing
    if size_notes(encoder, view.size):
        found["size of training"] = known.image_size
    if known.crop_pct and known.image_size and view.size != view.resize:
        own = (known.image_size, round(known.image_size / known.crop_pct), known.interpolation)
        if own != (view.size, view.resize, view.interpolation):
            found["the network's own"] = f"{own[0]} of a shorter side of {own[1]}, {own[2]}"
    return found


def size_notes(encoder: Encoder, size: int | None) -> list[str]:
    """What to tell where images are not of the size that the network was trained on; nothing else.

    Args:
        encoder: the network.
        size: side of the images; None where it is not known.
    """
    own = None if encoder.pretrained is False else encoder.preprocessing.image_size
    if own is None or size is None or size == own:
        return []
    return [f"the network was trained on images of {own} pixels, and sees images of {size} here."]


def has_loader(data: LightningDataModule, name: str) -> bool:
    """Whether a DataModule has a loader of its own under this name; Lightning's only raise."""
    return name in vars(data) or getattr(type(data), name, None) is not getattr(LightningDataModule, name, None)


def data_name(data: EvaluationData) -> str:
    """How results call a data set.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> data_name(CIFAR10MiniDataModule())
        'CIFAR10Mini'
    """
    if isinstance(data, DataLoader):
        data = data.dataset
    return type(data).__name__.removesuffix("DataModule")


def normalization(encoder: Encoder, data: SSLDataModule) -> tuple[Any, Any]:
    """Mean and deviation per channel: the encoder's where they are known, else the data's; None and None for none."""
    known = encoder.preprocessing
    of_data = known.mean is None or len(known.mean) != data.in_chans
    return (data.mean, data.std) if of_data else (known.mean, known.std)


def _prepare(encoder: Encoder, data: EvaluationData) -> Any:
    if not isinstance(data, SSLDataModule):
        return _as_floats
    mean, std = normalization(encoder, data)
    # The loader has cut the images to their size already.
    return BatchedEvaluate(Evaluation(resize=data.image_size, size=data.image_size), mean=mean, std=std)


def _as_floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _loader(data: EvaluationData, split: str, batch_size: int, num_workers: int) -> Iterable[Any]:
    """Every image of the split once, in order."""
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
        data.prepare_data()
        data.setup("test" if split == "test" else "fit")
        name = _LOADERS[split][-1]
        if not has_loader(data, name):
            raise UsageError(f'{type(data).__name__} has no {name}(), which gives the images of "{split}": write one.')
        given = getattr(data, name)()
        given = given[0] if isinstance(given, list | tuple) and given else given
        if not isinstance(given, DataLoader):
            raise UsageError(
                f"{type(data).__name__}.{name}() gave a {type(given).__name__}, and a DataLoader is needed."
            )
        data = given
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset):
            return data
        return DataLoader(
            data.dataset,
            batch_size=data.batch_size or batch_size,
            num_workers=data.num_workers,
            collate_fn=data.collate_fn,
        )
    if not (hasattr(data, "__getitem__") and isinstance(data, Sized)):
        raise UsageError(
            f"a {type(data).__name__} was given as data: it is a DataModule, a DataLoader, or a map-style dataset with "
            "__len__ and __getitem__."
        )
    return DataLoader(data, batch_size=batch_size, num_workers=num_workers)


def _targets(batch: Any, count: int) -> Tensor:
    """Labels ``(B,)``, or ``(B, C)`` of images with several; -1 where a batch has none."""
    if isinstance(batch, Tensor) or (isinstance(batch, list | tuple) and len(batch) < 2):
        return torch.full((count,), -1)
    if isinstance(batch, list | tuple) and isinstance(batch[1], Tensor) and batch[1].ndim == 2:
        return batch[1]
    return targets_of(batch).long()


def _key(encoder: Encoder, loader: Iterable[Any], split: str, data: EvaluationData) -> str | None:
    """Of all that features depend on; None where it cannot be told whether the images are the same again."""
    dataset: Any = getattr(loader, "dataset", None)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__") or len(dataset) == 0:
        raise UsageError("features of data without length cannot be kept in a cache: leave it out.")
    images = fingerprint(dataset)
    if images is None:
        rank_zero_warn(
            f"features of {data_name(data)} are not kept: what its items hold besides tensors, arrays, images, numbers "
            "and text cannot be compared with what they held."
        )
        return None
    return hashlib.sha256(f"{encoder.digest} {images} {split} {preprocessing(encoder, data)}".encode()).hexdigest()


def _rows(batch: Any, loader: Iterable[Any], seen: int, count: int) -> Tensor:
    """Rows of the data set: a loader goes through it in order, and only sslbolts' own leaves images out and says so.

    The third item of somebody else's batch may be anything: a group, a patient, a camera.
    """
    if isinstance(batch, ViewBatch) or isinstance(getattr(loader, "dataset", None), EvaluationImages):
        found = indices_of(batch)
        if found is not None:
            return found.cpu()
    return torch.arange(seen, seen + count)


def _save(found: Features, file: Path) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    save_file({name: column.contiguous() for name, column in found._asdict().items()}, unfinished)
    unfinished.replace(file)  # another process sees the whole file or none


def _load(file: Path) -> Features:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Features(**load_file(file))
    except (SafetensorError, TypeError) as error:
        raise UsageError(f'the cached features "{file}" cannot be read ({error}): delete the file.') from error
