"""Area under the ROC curve."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["area_under_roc", "areas_under_roc"]


@torch.no_grad()
def area_under_roc(scores: Tensor, targets: Tensor) -> float | None:
    """The chance that an image with the class has a higher score than one without, equal ones half; by torchmetrics.

    Args:
        scores: ``(N,)``, any numbers in which higher means yes; infinite ones are the highest and the lowest.
        targets: ``(N,)`` of 1, 0, and -1 for what is not known and does not count.

    Returns:
        from 0 to 1; None where all known labels are equal, and there is no such chance.

    Raises:
        UsageError: for shapes that do not fit, a label of another number, or a score that is none.

    Example:
        >>> area_under_roc(torch.tensor([3.0, 2.0, 2.0, -1.0]), torch.tensor([1, 1, 0, 0]))
        0.875
    """
    from torchmetrics.functional.classification import binary_auroc

    if scores.shape != targets.shape or scores.dim() != 1:
        raise UsageError(f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)}: both are (N,).")
    scores, targets = scores.cpu(), targets.cpu().long()
    if len(targets) and (int(targets.max()) > 1 or int(targets.min()) < -1):
        raise UsageError("targets are 1, 0, and -1 for what is not known.")
    scores, targets = scores[targets >= 0], targets[targets >= 0]
    if bool(scores.isnan().any()):
        raise UsageError(f"{int(scores.isnan().sum()):,} of {len(scores):,} scores are no numbers.")
    if bool((targets == targets[:1]).all()):
        return None
    # Of scores outside [0, 1] torchmetrics takes the sigmoid, which makes large ones equal: their ranks are within.
    ranks = torch.unique(scores, return_inverse=True)[1].double()
    return float(binary_auroc(ranks / ranks.max().clamp(min=1), targets, validate_args=False))


def areas_under_roc(scores: Tensor, targets: Tensor) -> list[float | None]:
    """The same for each of several labels.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 1, 0, and -1 for what is not known and does not count.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1], [0.2, 0.3]])
        >>> areas_under_roc(scores, torch.tensor([[1, 1], [0, -1]]))
        [1.0, None]
    """
    if scores.shape != targets.shape or scores.dim() != 2:
        raise UsageError(f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)}: both are (N, C).")
    return [area_under_roc(column, labels) for column, labels in zip(scores.T, targets.T)]
