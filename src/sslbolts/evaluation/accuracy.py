"""Shares of right answers, as every protocol counts them."""

from torch import Tensor

from sslbolts.readouts import class_accuracies, confusion_matrix

__all__ = ["accuracies", "right_answers"]

_TOP5_FROM = 6  # classes


def right_answers(scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Rows whose label has the highest score, ``top1``, or one of the five highest, ``top5`` (from six classes on).

    Args:
        scores: ``(..., C)``.
        targets: labels that broadcast with ``(...)``; rows with label -1 are wrong.

    Returns:
        bool tensors ``(...)``.

    Example:
        >>> import torch
        >>> right_answers(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))["top1"].tolist()
        [True, False]
    """
    right = {"top1": scores.argmax(-1) == targets}
    if scores.shape[-1] >= _TOP5_FROM:
        right["top5"] = (scores.topk(5).indices == targets[..., None]).any(-1)
    return right


def accuracies(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """Shares of right answers: ``top1``, ``top5`` (from six classes on) and the mean of the classes' own shares.

    Args:
        scores: ``(N, C)``; the largest predicts.
        targets: labels ``(N,)``, at least one.

    Example:
        >>> import torch
        >>> accuracies(torch.eye(3)[[0, 1, 1, 1]], torch.tensor([0, 1, 1, 2]))
        {'top1': 0.75, 'mean_per_class': 0.6666666666666666}
    """
    targets = targets.to(scores.device)
    found = {name: right.double().mean().item() for name, right in right_answers(scores, targets).items()}
    shares = class_accuracies(confusion_matrix(scores, targets, num_classes=max(2, scores.shape[1])))
    found["mean_per_class"] = shares[shares.isfinite()].mean().item()
    return found
