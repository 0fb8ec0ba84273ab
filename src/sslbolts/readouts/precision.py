"""Average precision of scores for several classes of each image."""

import math

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["average_precisions", "mean_average_precision"]


@torch.no_grad()
def average_precisions(scores: Tensor, targets: Tensor) -> list[float | None]:
    """Average precision of each class, by torchmetrics: `Σ_n (R_n - R_{n-1}) P_n` over all thresholds.

    Equal scores are one threshold, so their order plays no part. There is no interpolation.

    Args:
        scores: ``(N, C)``, any numbers in which higher means yes; infinite ones are the highest and the lowest.
        targets: ``(N, C)`` of 1, 0, and -1 for what is not known and does not count.

    Returns:
        from 0 to 1; None for a class that no image is known to show, which has no precision.

    Raises:
        UsageError: for shapes that do not fit, a label of another number, or a score that is none.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> first, second = average_precisions(scores, torch.tensor([[1, 0], [0, 0], [1, 0]]))
        >>> round(first, 4), second  # (1 + 2/3) / 2
        (0.8333, None)
    """
    from torchmetrics.functional.classification import binary_average_precision

    if scores.shape != targets.shape or scores.dim() != 2:
        raise UsageError(f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)}: both are (N, C).")
    scores, targets = scores.cpu(), targets.cpu()
    if bool(((targets != 0) & (targets.abs() != 1)).any()):
        raise UsageError("targets are 1, 0, and -1 for what is not known.")
    if bool(scores.isnan().any()):
        raise UsageError(f"{int(scores.isnan().any(1).sum()):,} of {len(scores):,} rows of scores hold no numbers.")
    found: list[float | None] = []
    for column, labels in zip(scores.T, targets.T.long()):
        column, labels = column[labels >= 0], labels[labels >= 0]
        if not bool(labels.any()):
            found.append(None)
            continue
        # Of scores outside [0, 1] torchmetrics takes the sigmoid, which makes large ones equal: their ranks are within.
        ranks = torch.unique(column, return_inverse=True)[1].double()
        ranks /= ranks.max().clamp(min=1)
        found.append(min(1.0, float(binary_average_precision(ranks, labels, validate_args=False))))  # of float32
    return found


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """The mean of :func:`average_precisions` over the classes that some image shows; NaN where there is none.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 1, 0, and -1 for what is not known and does not count.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> round(mean_average_precision(scores, torch.tensor([[1, 0], [0, 0], [1, 1]])), 4)  # of 5/6 and 1
        0.9167
    """
    each = [value for value in average_precisions(scores, targets) if value is not None]
    return sum(each) / len(each) if each else math.nan
