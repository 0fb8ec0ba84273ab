"""The measures of transfer tables: each data set has its own."""

import torch
from torch import Tensor

from sslbolts.checks.devices import with_float64
from sslbolts.evaluation.accuracy import accuracies, check_finite
from sslbolts.readouts.checks import usable

__all__ = ["map_11point", "measure"]


def measure(metric: str, scores: Tensor, targets: Tensor) -> float:
    """The measure of a data set, by its name.

    Args:
        metric: "top1"; "mean_per_class", the mean of the classes' own shares of right answers; or "map_11point".
        scores: ``(N, C)``.
        targets: ``(N,)`` labels; of "map_11point" as in :func:`map_11point`.

    Example:
        >>> measure("mean_per_class", torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
        0.5
    """
    return map_11point(scores, targets) if metric == "map_11point" else accuracies(scores, targets)[metric]


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
