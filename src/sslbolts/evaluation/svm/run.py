"""The SVM protocol: the maps of a frozen network's blocks, and a linear machine per class on each."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset

from sslbolts.batch import images_of
from sslbolts.checks import positive, whole
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import accuracies
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData, EvaluationData, size_notes
from sslbolts.evaluation.layers.maps import POOLED_VALUES, PooledMaps, fitting_groups, kernel_of
from sslbolts.evaluation.loaders import split_loader
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.splits import labeled_splits
from sslbolts.evaluation.svm.machines import COSTS, Machines, check_package, fit_machines, mean_average_precision
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.metrics import map_11point
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS

__all__ = ["evaluate_svm", "voc07_images"]

_RESIZED = 256 / 224  # shorter side of an image to the side of its center crop
_BYTES = 4  # of a value in memory


class _NormalizedMaps(nn.Module):
    """Images to the pooled maps of some layers, each of length 1, side by side ``(B, D_1 + D_2 + ...)``."""

    def __init__(self, maps: PooledMaps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([F.normalize(rows.float(), dim=1) for rows in self.maps(images)], 1)


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
    if voc07 is not None:
        if data is not None or test is not None:
            raise UsageError("voc07 is data of its own: leave data and test out.")
        train, held_out, prepared = voc07_images(
            encoder, voc07, image_size=image_size, normalize=normalize, download=download
        )
        subject = EncodedData(encoder, train, test=held_out)
    else:
        if data is None:
            raise UsageError("which images? Give data=, or voc07= with the folder of PASCAL VOC 2007.")
        if image_size is not None or normalize != "auto" or download:
            raise UsageError(
                "image_size, normalize and download are for voc07: other data have arguments of their own."
            )
        subject, prepared = EncodedData(encoder, data, test=test), None

    every = PooledMaps(encoder.network, encoder.backbone, layers, values=values, average=True).eval()
    with torch.no_grad():
        every(_example(subject))
    shapes = every.shapes
    widths = [channels * side**2 for channels, _, _, side in shapes]
    rows: list[dict[str, Any]] = []
    images = ""
    unfinished = fits = 0
    for group in fitting_groups(widths, _count(subject), memory, size=_BYTES):
        maps = PooledMaps(
            encoder.network, encoder.backbone, [every.layers[i] for i in group], values=values, average=True
        )
        x, y, test_x, test_y, images = _features(
            replace(subject, encoder=replace(encoder, network=_NormalizedMaps(maps))),
            batch_size=batch_size,
            num_workers=num_workers,
        )
        parts = [widths[i] for i in group]
        for i, part, test_part in zip(group, torch.split(x, parts, 1), torch.split(test_x, parts, 1)):
            labels, test_labels = _columns(y, test_y)
            found = fit_machines(part, labels, test_part, costs=costs, folds=folds, seed=seed, jobs=jobs)
            _check_classes(found, test_labels)
            unfinished, fits = unfinished + found.unfinished, fits + found.fits
            kept = f"{parts[group.index(i)]} ({_pooling(shapes[i], values)})"
            rows.append(
                {
                    "layer": every.layers[i],
                    **_measured(found, test_y, test_labels),
                    "maps": " x ".join(map(str, shapes[i][:3])),
                    "pooled to": f"{shapes[i][0]} x {shapes[i][3]} x {shapes[i][3]} = {kept}",
                }
            )
    choosing = all("validation/map" in row for row in rows)
    best = max(rows, key=lambda row: row["validation/map"]) if choosing else rows[-1]
    names = [name for name in ("map_11point", "map", "top1") if name in best]
    notes = subject.notes if prepared is None else size_notes(encoder, image_size or encoder.preprocessing.image_size)
    limit = f"{unfinished:,} of {fits:,} fits stopped at the limit of 2,000 iterations, which VISSL's have too."
    stopped = [limit] if unfinished else []
    result = subject.result(
        "svm",
        metrics={name: best[name] for name in names}
        | {f"{row['layer']}/{name}": row[name] for row in rows for name in names},
        settings={
            "features": f"maps of the {encoder.feature_name}'s blocks, averaged to about {values:,} values each, of "
            "length 1",
            "network": encoder.description,
            "classifier": "scikit-learn's LinearSVC for each class, squared hinge, images of the class weighing twice",
            "C": f"{said}: the one with the best average precision in {folds}-fold cross-validation on the training "
            "images, for each class",
            "choice": f"the layer best there, {best['layer']}"
            if choosing
            else f"none: the last layer, {best['layer']}",
            "preprocessing": prepared or subject.preprocessing,
            "images": images,
            "seed": seed,
        },
        rows=rows,
        notes=[*stopped, *notes],
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


def _features(subject: EncodedData, **loading: int) -> tuple[Tensor, Tensor, Tensor, Tensor, str]:
    """Features and labels of training images, the same of test images, and the numbers of both in words."""
    if isinstance(subject.data, PreparedImages) and subject.test is not None:
        train = subject.features("bank", **loading)
        held_out = replace(subject, data=subject.test).features("test", **loading)
        words = f"{len(train.features):,} of trainval, judged on {len(held_out.features):,} of test; objects marked "
        words += "difficult count neither way"
        return train.features, train.targets, held_out.features, held_out.targets, words
    splits = labeled_splits(subject)
    return splits.x, splits.y, splits.test_x, splits.test_y, splits.settings["images"]


def _columns(targets: Tensor, test_targets: Tensor) -> tuple[Tensor, Tensor]:
    """Labels ``(N,)`` and ``(M,)`` as ``(N, C)`` and ``(M, C)`` of 1 and 0; those that are so already as they are."""
    if targets.ndim == 2:
        return targets, test_targets
    count = 1 + int(max(targets.max(), test_targets.max()))
    return F.one_hot(targets, count), F.one_hot(test_targets, count)


def _check_classes(found: Machines, test_labels: Tensor) -> None:
    for label in (test_labels == 1).any(0).nonzero().squeeze(1).tolist():
        if found.costs[label] is None:
            raise UsageError(
                f"test images have class {label}, and no training image (or every one) has it: there is nothing to "
                "learn it from."
            )


def _pooling(shape: Sequence[int], values: int) -> str:
    kernel = kernel_of(tuple(shape[:3]), values=values)
    return "adaptive" if kernel is None else "window {}, stride {}, padding {}".format(*kernel)


def _measured(found: Machines, targets: Tensor, labels: Tensor) -> dict[str, Any]:
    """The measures of a layer's machines on the test images, their precision on folds, and their costs."""
    measured = {"map": mean_average_precision(found.scores, labels)}
    if targets.ndim == 2:
        measured = {"map_11point": map_11point(found.scores, labels), **measured}
    else:
        measured["top1"] = accuracies(found.scores, targets)["top1"]
    chosen = [cost for cost in found.costs if cost is not None]
    precisions = [value for value in found.validation if value is not None]
    if precisions:
        measured["validation/map"] = sum(precisions) / len(precisions)
    return {**measured, "C": f"{min(chosen):g} to {max(chosen):g}"}


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
