"""The SVM protocol: the maps of a frozen network's blocks, and a linear machine per class on each."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from sslbolts.batch import images_of
from sslbolts.checks import positive, whole
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData, EvaluationData, size_notes
from sslbolts.evaluation.layers.maps import POOLED_VALUES, PooledMaps, fitting_groups
from sslbolts.evaluation.loaders import split_loader
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.svm.machines import COSTS, check_package, fit_machines
from sslbolts.evaluation.svm.table import Table, kept_widths
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS

__all__ = ["evaluate_svm", "voc07_images"]

_RESIZED = 256 / 224  # shorter side of an image to the side of its center crop
_BYTES = 4  # of a value in memory


def evaluate_svm(
    encoder: Encoder,
    data: EvaluationData | None = None,
    *,
    voc07: str | Path | None = None,
    test: EvaluationData | None = None,
    layers: Sequence[str] | None = None,
    costs: Sequence[float] = COSTS,
    folds: int = 3,
    values: int = POOLED_VALUES,
    image_size: int | None = None,
    normalize: str = "auto",
    download: bool = False,
    batch_size: int = 64,
    num_workers: int = 0,
    memory: float = 8.0,
    jobs: int = 1,
    seed: int = 0,
) -> Result:
    """Linear support vector machines, one per class, on the pooled maps of every block: VISSL's protocol for VOC 2007.

    Maps are averaged to about 9,000 numbers (by VISSL's windows where a map has the size of one of its ResNet-50's or
    AlexNet's, else adaptively) and scaled to length 1. The cost of each machine is chosen by cross-validation on the
    training images, and so is the layer of the first number.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule with one label per image, or a dataset or loader of training images, which then needs
            ``test``.
        voc07: in place of ``data``, the folder that has PASCAL VOC 2007 as torchvision lays it out: its training and
            validation images together to learn from, and its test images.
        test: test images, where ``data`` has none.
        layers: names of submodules of the backbone; None is all blocks.
        costs: candidates for the cost of an image on the wrong side.
        folds: of the cross-validation.
        values: about how many numbers are kept of each map.
        image_size: of VOC, side of the center crop, pixels; the shorter side is 8/7 of it before. None is that of the
            network's training, or 224.
        normalize: of VOC: "auto" is as in training where this is known, else "imagenet", by its mean and deviation; or
            "none".
        download: fetch VOC where it is not there.
        batch_size: images at a time; a DataModule has its own.
        num_workers: processes that read images; a DataModule has its own.
        memory: GiB that the maps may take; layers that do not fit together are done one after the other, with a pass of
            the images for each group.
        jobs: machines fitted at a time, each with a copy of the features.
        seed: of the solver's order.

    Returns:
        A row per layer. ``metrics`` has the mean average precision ``map``, of VOC before it ``map_11point`` by the
        rule of 2007, of others ``top1`` of the class with the highest score; and ``LAYER/map`` and so on.

    Raises:
        UsageError: without scikit-learn, for data of another kind, layers without maps, or a class that has no training
            image.

    Source: Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, ICCV 2019,
    arXiv:1905.01235; pooling windows, costs and weights of VISSL's official code.
    """
    check_package()
    whole(batch_size=batch_size, values=values, image_size=image_size)
    whole(0, num_workers=num_workers)
    positive(memory=memory)
    said = f"of {len(costs)} values, {min(costs, default=0):g} to {max(costs, default=0):g}"
    preparing = {"image_size": image_size, "normalize": normalize, "download": download}
    subject, prepared = _subject(encoder, data, test, voc07, preparing)
    layers, widths = _layers_and_widths(subject, layers, values)

    fit = partial(fit_machines, costs=costs, folds=folds, seed=seed, jobs=jobs)
    table = Table()
    for group in fitting_groups(widths, _count(subject), memory, size=_BYTES):
        maps = PooledMaps(encoder.network, encoder.backbone, [layers[i] for i in group], values=values, average=True)
        table.add(maps, subject, fit, batch_size=batch_size, num_workers=num_workers)

    notes = subject.notes if prepared is None else size_notes(encoder, image_size or encoder.preprocessing.image_size)
    result = subject.result(
        "svm",
        metrics=table.metrics,
        settings={
            "features": f"maps of the {encoder.feature_name}'s blocks, averaged to about {values:,} values each, of "
            "length 1",
            "network": encoder.description,
            "classifier": "scikit-learn's LinearSVC for each class, squared hinge, images of the class weighing twice",
            "C": f"{said}: the one with the best average precision in {folds}-fold cross-validation on the training "
            "images, for each class",
            "choice": table.choice,
            "preprocessing": prepared or subject.preprocessing,
            "images": table.images,
            "seed": seed,
        },
        rows=table.rows,
        notes=[*table.notes, *notes],
    )
    if voc07 is None:
        return result
    identity = {"folder": os.path.abspath(voc07), **result.settings["data"]}
    return replace(result, data="VOC2007", settings=result.settings | {"data": identity})


def voc07_images(
    encoder: Encoder,
    root: str | Path,
    *,
    image_size: int | None = None,
    normalize: str = "auto",
    download: bool = False,
) -> tuple[Dataset[Any], Dataset[Any], str]:
    """Training and validation images of PASCAL VOC 2007, its test images, and how they are prepared, in words.

    Args:
        encoder: whose size and normalization they have.
        root: folder, as torchvision lays it out.
        image_size: as in :func:`evaluate_svm`.
        normalize: as in :func:`evaluate_svm`.
        download: fetch what is not there.

    Raises:
        UsageError: if it is not there.
    """
    size = image_size or encoder.preprocessing.image_size or 224
    mean, std, whose = encoder.normalization(normalize)
    try:
        splits = TRANSFER_SETS["VOC2007"].load(str(root), download, 0)
    except UsageError as missing:
        raise UsageError(f"VOC2007: {missing}") from missing
    resized = round(_RESIZED * size)
    train, held_out = (
        PreparedImages(images, size=size, resize=resized, in_chans=encoder.preprocessing.in_chans, mean=mean, std=std)
        for images in (ConcatDataset([splits.train, splits.val]), splits.test)
    )
    return train, held_out, f"shorter side {resized} bicubic, center crop {size}, {whose}"


def _subject(
    encoder: Encoder,
    data: EvaluationData | None,
    test: EvaluationData | None,
    voc07: str | Path | None,
    preparing: dict[str, Any],
) -> tuple[EncodedData, str | None]:
    """The network on the given data, or on VOC's images and, in words, how these are prepared."""
    if voc07 is not None:
        if data is not None or test is not None:
            raise UsageError("voc07 is data of its own: leave data and test out.")
        train, held_out, prepared = voc07_images(encoder, voc07, **preparing)
        return EncodedData(encoder, train, test=held_out), prepared
    if data is None:
        raise UsageError("which images? Give data=, or voc07= with the folder of PASCAL VOC 2007.")
    if preparing["image_size"] is not None or preparing["normalize"] != "auto" or preparing["download"]:
        raise UsageError("image_size, normalize and download are for voc07: other data have arguments of their own.")
    return EncodedData(encoder, data, test=test), None


def _layers_and_widths(
    subject: EncodedData, layers: Sequence[str] | None, values: int
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the layers, and how many values are kept of the map of each."""
    encoder = subject.encoder
    maps = PooledMaps(encoder.network, encoder.backbone, layers, values=values, average=True).eval()
    with torch.no_grad():
        maps(_example(subject))
    return maps.layers, kept_widths(maps)


def _example(subject: EncodedData) -> Tensor:
    """A blank image of the data's size."""
    encoder, data = subject.encoder, subject.data
    if isinstance(data, SSLDataModule):
        shape = (encoder.preprocessing.in_chans, data.image_size, data.image_size)
    else:
        loader = split_loader(data, "bank", batch_size=1, num_workers=0)
        shape = tuple(images_of(next(iter(loader))).shape[1:])  # type: ignore[assignment]
    return torch.zeros(1, *shape, device=encoder.device)


def _count(subject: EncodedData) -> int:
    """Number of the images whose maps are kept, as far as it is known."""
    count = 0
    for data, split in ((subject.data, "bank"), (subject.test if subject.test is not None else subject.data, "test")):
        try:
            loader = split_loader(data, split, batch_size=1, num_workers=0)
        except UsageError:
            continue
        images = getattr(loader, "dataset", None)
        count += len(images) if hasattr(images, "__len__") else 0  # type: ignore[arg-type]
    return max(1, count)
