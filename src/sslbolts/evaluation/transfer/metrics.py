"""The measures of transfer tables: each data set has its own."""

import torch
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import NoNumber, accuracies, check_finite
from sslbolts.readouts import areas_under_roc
from sslbolts.readouts.checks import usable

__all__ = ["METRICS", "map_11point", "measure"]

METRICS = ("top1", "mean_per_class", "map_11point", "auc")
"""Their names."""


def measure(metric: str, scores: Tensor, targets: Tensor) -> float:
    """The measure of a data set, by its name.

    Args:
        metric: "top1"; "mean_per_class", the mean of the classes' own shares of right answers; "map_11point"; or "auc",
            the area under the ROC curve: of two classes that of the second, of several labels per image the mean over
            those that some images have and some have not.
        scores: ``(N, C)``.
        targets: ``(N,)`` labels; of "map_11point" and several labels as in :func:`map_11point`.

    Raises:
        NoNumber: for an "auc" of images of one class.
        UsageError: for another name, or an "auc" of more than two classes.

    Example:
        >>> measure("mean_per_class", torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
        0.5
    """
    one_of(METRICS, metric=metric)
    if metric == "map_11point":
        return map_11point(scores, targets)
    if metric == "auc":
        return _auc(scores, targets)
    return accuracies(scores, targets)[metric]


def _auc(scores: Tensor, targets: Tensor) -> float:
    if targets.dim() == 2:
        check_finite(usable(scores), "scores", "The features are too large, or the classifier has diverged.")
        areas = [area for area in areas_under_roc(scores, targets) if area is not None]
        if not areas:
            raise NoNumber(
                "auc needs images with a label and images without it, and of each label there is but one kind."
            )
        return sum(areas) / len(areas)
    if scores.shape[1] != 2:
        raise UsageError(
            f"auc is of two classes, or of several labels per image, and there are {scores.shape[1]} classes."
        )
    found = accuracies(scores, targets)
    if "auc" not in found:
        raise NoNumber("auc needs images of both classes, and all of them are of one.")
    return found["auc"]


def map_11point(scores: Tensor, targets: Tensor) -> float:
    """Mean over classes of the average precision of VOC 2007: precision at the recalls 0, 0.1, ..., 1.

    The precision at a recall is the best of all that have at least this recall. Images whose label is not known do not
    count for their class, and classes without any image are left out.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 1, 0, and -1 where it is not known.

    Source: Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, section 4.2.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
        >>> round(map_11point(scores, torch.tensor([[1], [0], [1], [0]])), 4)  # 6 x 1 and 5 x 2/3
        0.8485
    """
    scores, targets = with_float64(scores), with_float64(targets)
    check_finite(usable(scores), "scores", "The features are too large, or the classifier has diverged.")
    each = []
    for column, labels in zip(scores.T, targets.T):
        known = labels >= 0
        relevant = labels[known][column[known].argsort(descending=True, stable=True)].double()
        if relevant.sum() == 0:
            continue
        right = relevant.cumsum(0)
        precision = right / torch.arange(1, len(right) + 1, device=right.device)
        best = precision.flip(0).cummax(0).values.flip(0)  # of this and all greater recalls
        tenths = torch.arange(11, device=right.device) * right[-1]
        first = torch.searchsorted(10 * right, tenths)  # where the recall is reached; whole numbers, no rounding
        each.append(best[first].mean())
    return float(torch.stack(each).mean()) if each else float("nan")
