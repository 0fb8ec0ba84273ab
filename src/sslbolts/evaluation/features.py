"""Features of a data set's images: computed once, kept in a file, and used by every probe."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sslbolts.batch import ViewBatch, class_labels, given_targets, images_of, indices_of
from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot, check_values, has_label
from sslbolts.data import SSLDataModule
from sslbolts.data.evaluation import EvaluationImages, untouched
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import check_finite
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.feature_files import feature_file, load_columns, save_columns
from sslbolts.evaluation.identity import data_identity
from sslbolts.evaluation.loaders import EvaluationData, split_loader
from sslbolts.evaluation.result import Result
from sslbolts.progress import late_bar
from sslbolts.readouts.checks import is_finite
from sslbolts.training.undisturbed import isolated
from sslbolts.transforms import BatchedEvaluate, evaluation
from sslbolts.transforms.levels import LEVELS, pixels_of
from sslbolts.transforms.preprocessing import range_in_words

__all__ = [
    "EncodedData",
    "EvaluationData",
    "Features",
    "check_features",
    "data_name",
    "features_of",
    "labeled_rows",
    "refuse_several",
    "size_notes",
]


class Features(NamedTuple):
    """Features of a split, in the order of its images.

    Attributes:
        features: ``(N, D)`` float32, on the CPU.
        targets: labels ``(N,)`` int64, -1 where unlabeled; or ``(N, C)`` int64 where an image has several: 1, 0, and -1
            for what is not known.
        indices: ``(N,)`` rows of the data set: fewer than it has where images could not be read.
    """

    features: Tensor
    targets: Tensor
    indices: Tensor


@dataclass(frozen=True)
class EncodedData:
    """A network and the data that it is evaluated on.

    Attributes:
        encoder: the network; see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule, or one split of a data set; see :func:`features_of`.
        test: test images, where ``data`` is a dataset or loader of training images.
        cache: folder in which features are kept; None keeps none.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> subject = EncodedData(load_encoder(torch.nn.Flatten(), image_size=32), CIFAR10MiniDataModule())
        >>> subject.name, subject.preprocessing["size"], subject.notes
        ('CIFAR10Mini', 32, [])
    """

    encoder: Encoder
    data: EvaluationData
    test: EvaluationData | None = None
    cache: str | Path | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Which data it is; see :func:`sslbolts.evaluation.identity.data_identity`."""
        return data_identity(self.data, self.test)

    @property
    def name(self) -> str:
        """The data set, as results call it."""
        return data_name(self.data)

    @property
    def module(self) -> SSLDataModule:
        """The DataModule, for protocols that need one of sslbolts.

        Raises:
            UsageError: for data of another kind.
        """
        if not isinstance(self.data, SSLDataModule):
            raise UsageError(
                f"a {type(self.data).__name__} was given as data: this protocol crops and normalizes images itself, "
                "and needs a DataModule of sslbolts.data, e.g. DatasetDataModule(your_dataset)."
            )
        return self.data

    @property
    def normalization(self) -> tuple[Any, Any]:
        """Mean and deviation per channel, the encoder's where they are known, else the data's; None for none."""
        known = self.encoder.preprocessing
        of_data = known.mean is None or len(known.mean) != self.module.in_chans
        return (self.module.mean, self.module.std) if of_data else (known.mean, known.std)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The preparation of an image for the network, for a result's settings, and part of the cache's key."""
        if not isinstance(self.data, SSLDataModule):
            return {"transform": "the dataset's own"}
        known, (mean, std) = self.encoder.preprocessing, self.normalization
        view = evaluation(self.data.image_size)
        found: dict[str, Any] = {
            "size": view.size,
            "shorter side": view.resize,
            "interpolation": view.interpolation,
            "mean": "none" if mean is None else [round(value, 4) for value in mean],
            "std": "none" if std is None else [round(value, 4) for value in std],
        }
        if size_notes(self.encoder, self.data.image_size):
            found["size of training"] = known.image_size
        if self.data.value_range is not None:
            found["value range"] = range_in_words(self.data.value_range)
        if known.crop_pct and known.image_size and view.size != view.resize:
            own = (known.image_size, round(known.image_size / known.crop_pct), known.interpolation)
            if own != (view.size, view.resize, view.interpolation):
                found["the network's own"] = f"{own[0]} of a shorter side of {own[1]}, {own[2]}"
        return found

    @property
    def notes(self) -> list[str]:
        """Sentences on images that are not of the size or range of values that the network was trained on."""
        if not isinstance(self.data, SSLDataModule):
            return []
        ranges = [] if _is_drawn(self.encoder) else self.encoder.preprocessing.range_notes(self.data.value_range or ())
        return [*size_notes(self.encoder, self.data.image_size), *ranges]

    def prepared(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` of a loader as the network takes them: normalized here, if they are levels still."""
        if not isinstance(self.data, SSLDataModule):
            return pixels_of(images) if images.dtype in LEVELS else images.float()
        mean, std = self.normalization
        # The loader has cut the images to their size already.
        return BatchedEvaluate(untouched(self.data.image_size), mean=mean, std=std)(images)

    @torch.no_grad()
    def features(self, split: str = "bank", *, batch_size: int = 256, num_workers: int = 0) -> Features:
        """The features of a split; see :func:`features_of`."""
        loader = split_loader(self.data, split, batch_size=batch_size, num_workers=num_workers)
        file, images = None, getattr(loader, "dataset", None)
        if self.cache is not None:
            file = feature_file(
                self.cache,
                images,
                digest=self.encoder.digest,
                words=(self.encoder.name, self.encoder.layer, self.name, split),
                preprocessing=self.preprocessing,
            )
            if file is not None and os.path.exists(file):
                kept = load_columns(file, images, self.encoder.num_features)
                if kept is not None:
                    return Features(*kept)
        with isolated():  # a loader draws a seed for its workers
            found = self._computed(loader, split)
        if file is not None:
            save_columns(found._asdict(), file)
        return found

    def _computed(self, loader: Iterable[Any], split: str) -> Features:
        encoder = self.encoder
        rows: list[tuple[Tensor, Tensor, Tensor]] = []
        finite: list[bool] = []
        seen = 0
        encoder.network.eval()
        for batch in late_bar(loader, f"Features of {self.name} ({split})"):
            images = images_of(batch)
            if len(images) == 0:  # none of them could be read
                continue
            images = self.prepared(images.to(encoder.device, non_blocking=True))
            if images.shape[1] != encoder.preprocessing.in_chans:
                raise UsageError(
                    f"{self.name} has images of {images.shape[1]} channels, but {encoder.name} takes "
                    f"{encoder.preprocessing.in_chans}: give the data in_chans={encoder.preprocessing.in_chans}."
                )
            features = encoder.network(images).float()
            finite += is_finite(features).tolist()
            features = features.cpu()
            targets = _targets(batch, len(features)).cpu()
            rows.append((features, targets, _rows(batch, loader, seen, len(features))))
            seen += len(features)
        if not rows:
            raise UsageError(f'{self.name} gave no image for "{split}".')
        check_features(torch.tensor(finite), encoder.name)
        return Features(*(torch.cat(column) for column in zip(*rows)))

    def result(
        self,
        protocol: str,
        metrics: dict[str, float],
        settings: dict[str, Any],
        rows: list[dict[str, Any]] | None = None,
        notes: list[str] | None = None,
    ) -> Result:
        """The result of a protocol for this network on this data; None takes the notes of this object."""
        stated = self.notes if notes is None else notes
        drawn = {"initialization": self.encoder.initialization} if self.encoder.initialization else {}
        stated_settings = {"data": self.identity, **drawn, **settings}
        return Result(protocol, self.encoder.source, self.name, metrics, stated_settings, rows or [], stated)


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
        split: "bank" (labeled training images), "train", "val" or "test"; the name only, where ``data`` is one split.
        cache: folder in which the features are kept as safetensors, and found again for the same weights, layer,
            images (see :func:`~sslbolts.evaluation.fingerprint.fingerprint`) and preprocessing; None keeps nothing.
        batch_size: images at a time; a DataModule and a DataLoader have their own.
        num_workers: of a dataset's loader.

    Raises:
        UsageError: if there is no such split, its images do not fit the encoder, or features are not finite.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(6, 1, 2, 2), torch.arange(6) % 3)
        >>> encoder = load_encoder(torch.nn.Flatten(), in_chans=1, image_size=2, device="cpu")
        >>> found = features_of(encoder, dataset)
        >>> tuple(found.features.shape), found.targets.tolist()
        ((6, 4), [0, 1, 2, 0, 1, 2])
    """
    return EncodedData(encoder, data, cache=cache).features(split, batch_size=batch_size, num_workers=num_workers)


def check_features(finite: Tensor, name: str) -> None:
    """Refuse features of which some are no numbers.

    Args:
        finite: ``(N,)`` bool: :func:`~sslbolts.readouts.checks.is_finite` of each.
        name: of the network.

    Raises:
        UsageError: unless all are finite.
    """
    check_finite(
        finite, f"features of {name}", "Its training has diverged, or its images are not those it was made for."
    )


def labeled_rows(found: Features, *, what: str = "data", several: bool = False) -> tuple[Tensor, Tensor]:
    """Features and labels of the images that have one.

    Args:
        found: what :func:`features_of` returned, with labels ``(N,)``, or ``(N, C)`` with a single 1 for each image.
        what: how the message calls the images.
        several: an image may show several classes, and labels stay as they are.

    Raises:
        UsageError: if none has, or one has several.
    """
    try:
        targets = found.targets if several else as_labels(found.targets)
    except UsageError as error:
        said = f"{str(error).rstrip('.')}; labels have the shape {tuple(found.targets.shape)}."
        raise UsageError(f"this protocol takes one label per image, but of the {what} {said}") from None
    known = has_label(targets)
    if not known.any():
        raise UsageError(f"no image of the {what} has a label, and this protocol needs them.")
    return (found.features, targets) if known.all() else (found.features[known], targets[known])


def refuse_several(data: Any) -> None:
    """Refuse a DataModule whose images may show several classes, for a protocol of one class per image.

    Args:
        data: of whatever kind; what declares nothing is not refused here.

    Raises:
        UsageError: says the shape of the labels.
    """
    if getattr(data, "multi_label", False):
        classes = getattr(data, "num_classes", "C")
        raise UsageError(
            f"this protocol takes one label per image, but {type(data).__name__} has multi_label=True: its labels are "
            f"rows (N, {classes}). kNN, ridge, and linear and MLP probes on features take them."
        )


def size_notes(encoder: Encoder, size: int | None) -> list[str]:
    """A sentence where images are not of the size that the network was trained on; none elsewhere.

    Args:
        encoder: the network.
        size: side of the images; None where it is not known.
    """
    return [] if _is_drawn(encoder) or size is None else encoder.preprocessing.size_notes(size)


def _is_drawn(encoder: Encoder) -> bool:
    return encoder.pretrained is False or bool(encoder.initialization)


def data_name(data: EvaluationData) -> str:
    """The name of a data set in results.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> data_name(CIFAR10MiniDataModule())
        'CIFAR10Mini'
    """
    if isinstance(data, DataLoader):
        data = data.dataset
    return type(data).__name__.removesuffix("DataModule")


def _targets(batch: Any, count: int) -> Tensor:
    """Labels ``(B,)``, or ``(B, C)`` of images with several; -1 where a batch has none."""
    if isinstance(batch, Tensor) or (isinstance(batch, list | tuple) and len(batch) < 2):
        return torch.full((count,), -1)
    given = given_targets(batch)
    if isinstance(given, Tensor) and given.ndim == 2 and given.shape[1] > 1:
        rows = as_multi_hot(given)
        check_values(rows)
        return rows.long()
    return class_labels(given)


def _rows(batch: Any, loader: Iterable[Any], seen: int, count: int) -> Tensor:
    """Rows of the data set: a loader goes through it in order, and only sslbolts' own leaves images out and says so.

    The third item of somebody else's batch may be anything: a group, a patient, a camera.
    """
    if isinstance(batch, ViewBatch) or isinstance(getattr(loader, "dataset", None), EvaluationImages):
        found = indices_of(batch)
        if found is not None:
            return found.cpu()
    return torch.arange(seen, seen + count)
