"""Classes that are taken for one another."""

import torch
from torch import Tensor

from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError

__all__ = ["class_accuracies", "confusion_matrix"]


@torch.no_grad()
def confusion_matrix(predictions: Tensor, targets: Tensor, *, num_classes: int) -> Tensor:
    """Counts of how often each class (row) is predicted to be each class (column), by torchmetrics.

    Args:
        predictions: ``(N,)`` classes, integers, or ``(N, num_classes)`` scores.
        targets: ``(N,)`` labels, -1 for an image to leave out.
        num_classes: `C`.

    Returns:
        ``(C, C)`` int64.

    Raises:
        UsageError: for shapes that do not fit, or a class that there is not.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, -1]), num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if predictions.dim() == 2:
        predictions = predictions.argmax(1)
    if predictions.shape != targets.shape or targets.dim() != 1 or targets.is_floating_point():
        raise UsageError(
            f"predictions {tuple(predictions.shape)} and targets {tuple(targets.shape)}: one class and one integer "
            "label are needed for each image."
        )
    predictions, targets = predictions.long(), targets.to(predictions.device).long()
    largest = int(torch.cat((predictions, targets)).max()) if len(targets) else -1
    if num_classes < 2 or largest >= num_classes:
        raise UsageError(
            f"num_classes={num_classes}, but there is class {largest}: it is at least 2, and classes are 0 to "
            "num_classes - 1."
        )
    if not (targets >= 0).any():
        return torch.zeros(num_classes, num_classes, dtype=torch.int64, device=targets.device)
    matrix: Tensor = multiclass_confusion_matrix(predictions, targets, num_classes, ignore_index=-1)
    return matrix.long()


@torch.no_grad()
def class_accuracies(matrix: Tensor) -> Tensor:
    """Share of each class's images that are predicted rightly.

    Args:
        matrix: ``(C, C)`` counts, from :func:`confusion_matrix`.

    Returns:
        ``(C,)`` float64 in [0, 1], NaN for a class without images; on the CPU where the device has no float64.

    Example:
        >>> class_accuracies(torch.tensor([[3, 1], [0, 2]])).tolist()
        [0.75, 1.0]
    """
    matrix = with_float64(matrix)
    return matrix.diagonal().double() / matrix.sum(1)
