"""The table of support vector machines: each layer's features, and what the machines on them reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import accuracies
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.layers.maps import PooledMaps, kernel_of
from sslbolts.evaluation.splits import labeled_splits
from sslbolts.evaluation.svm.machines import Machines, mean_average_precision
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.metrics import map_11point

__all__ = ["Table", "kept_widths"]


@dataclass
class Table:
    """The rows of the layers so far.

    Attributes:
        rows: one per layer, in the network's order.
        images: the numbers of training and test images, in words.
        fits: how many fits there were in all.
        unfinished: how many of them stopped at the limit of iterations.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    images: str = ""
    fits: int = 0
    unfinished: int = 0

    def add(self, maps: PooledMaps, subject: EncodedData, fit: Callable[..., Machines], **loading: int) -> None:
        """Add the rows of layers whose maps are in memory together, from one pass of the images.

        Args:
            maps: the layers.
            subject: the network and its images.
            fit: machines from features and labels of training images, and features of test images.
            **loading: batch size and workers of data that have none of their own.

        Raises:
            UsageError: for a class that no training image has.
        """
        encoder = replace(subject.encoder, network=_NormalizedMaps(maps))
        x, y, test_x, test_y, self.images = _features(replace(subject, encoder=encoder), **loading)
        labels, test_labels = _columns(y, test_y)
        widths = kept_widths(maps)
        parts = zip(torch.split(x, widths, 1), torch.split(test_x, widths, 1))
        for layer, shape, (part, test_part) in zip(maps.layers, maps.shapes, parts):
            found = fit(part, labels, test_part)
            _check_classes(found, test_labels)
            self.fits += found.fits
            self.unfinished += found.unfinished
            self.rows.append(
                {"layer": layer, **_measured(found, test_y, test_labels), **_pooling_in_words(shape, maps.values)}
            )

    @property
    def choosing(self) -> bool:
        """Whether every layer has a measure on the training images."""
        return all("validation/map" in row for row in self.rows)

    @property
    def best(self) -> dict[str, Any]:
        """The row of the layer that is best in cross-validation; the last one where there is nothing to choose on."""
        return max(self.rows, key=lambda row: row["validation/map"]) if self.choosing else self.rows[-1]

    @property
    def choice(self) -> str:
        """How the layer of the first number was chosen, in words."""
        layer = self.best["layer"]
        return f"the layer best there, {layer}" if self.choosing else f"none: the last layer, {layer}"

    @property
    def metrics(self) -> dict[str, float]:
        """The best layer's measures, and then each layer's."""
        names = [name for name in ("map_11point", "map", "top1") if name in self.best]
        each = {f"{row['layer']}/{name}": row[name] for row in self.rows for name in names}
        return {name: self.best[name] for name in names} | each

    @property
    def notes(self) -> list[str]:
        """A sentence on fits that were not finished, if there are any."""
        if not self.unfinished:
            return []
        stopped = f"{self.unfinished:,} of {self.fits:,} fits stopped at the limit of 2,000 iterations"
        return [f"{stopped}, which VISSL's have too."]


def kept_widths(maps: PooledMaps) -> list[int]:
    """How many values are kept of the map of each layer, once an image has passed."""
    return [channels * side**2 for channels, _, _, side in maps.shapes]


class _NormalizedMaps(nn.Module):
    """Images to the pooled maps of some layers, each of length 1, side by side ``(B, D_1 + D_2 + ...)``."""

    def __init__(self, maps: PooledMaps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([F.normalize(rows.float(), dim=1) for rows in self.maps(images)], 1)


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


def _pooling_in_words(shape: Sequence[int], values: int) -> dict[str, str]:
    """The columns of a map's shape and of what is kept of it."""
    channels, height, width, side = shape
    kernel = kernel_of((channels, height, width), values=values)
    how = "adaptive" if kernel is None else "window {}, stride {}, padding {}".format(*kernel)
    return {
        "maps": f"{channels} x {height} x {width}",
        "pooled to": f"{channels} x {side} x {side} = {channels * side**2} ({how})",
    }


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
