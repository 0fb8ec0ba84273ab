"""The measures of transfer tables: each data set has its own."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

__all__ = ["TRANSFER_METRICS", "map_11point", "mean_per_class", "top1"]


def top1(scores: Tensor, targets: Tensor) -> float:
    """Share of images whose highest score is their label's.

    Args:
        scores: ``(N, C)``.
        targets: ``(N,)``.

    Example:
        >>> top1(torch.eye(3), torch.tensor([0, 1, 1])) == 2 / 3
        True
    """
    return float((scores.argmax(1) == targets).double().mean())


def mean_per_class(scores: Tensor, targets: Tensor) -> float:
    """Top-1 accuracy of each class, averaged over the classes that there are.

    Args:
        scores: ``(N, C)``.
        targets: ``(N,)``.

    Example:
        >>> mean_per_class(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
        0.5
    """
    right = (scores.argmax(1) == targets).double()
    count = torch.bincount(targets, minlength=scores.shape[1])
    sums = torch.zeros(len(count), dtype=torch.float64, device=right.device).index_add_(0, targets, right)
    return float((sums[count > 0] / count[count > 0]).mean())


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


TRANSFER_METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = MappingProxyType(
    {"top1": top1, "mean_per_class": mean_per_class, "map_11point": map_11point}
)
