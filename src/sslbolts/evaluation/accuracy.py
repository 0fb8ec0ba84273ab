"""Shares of right answers, as every protocol counts them, and of two classes the area under the ROC curve."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.readouts import area_under_roc, class_accuracies, confusion_matrix, mean_average_precision
from sslbolts.readouts.checks import usable

__all__ = ["NoNumber", "accuracies", "auc_setting", "check_finite", "precision", "right_answers", "two_class_margin"]

_TOP5_FROM = 6  # classes


class NoNumber(UsageError):
    """There is no number of these images, though there may be one of others."""


def right_answers(scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Rows whose label has the highest score, ``top1``, or one of the five highest, ``top5`` (from six classes on).

    Args:
        scores: ``(..., C)``; minus infinity for a class that is no answer at all, such as one without a vote. Rows with
            NaN or infinity are wrong.
        targets: labels that broadcast with ``(...)``; rows with label -1 are wrong.

    Returns:
        bool tensors ``(...)``.

    Example:
        >>> right_answers(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))["top1"].tolist()
        [True, False]
    """
    known = usable(scores)
    right = {"top1": (scores.argmax(-1) == targets) & known}
    if scores.shape[-1] >= _TOP5_FROM:
        highest, classes = scores.topk(5)
        hits = (classes == targets[..., None]) & (highest > -torch.inf)
        right["top5"] = hits.any(-1) & known
    return right


def two_class_margin(scores: Tensor) -> dict[str, Tensor]:
    """By how much the second of two classes has the greater score, as ``margin``; nothing of more classes.

    Args:
        scores: ``(..., C)``.

    Example:
        >>> two_class_margin(torch.tensor([[2.0, 0.5]])), two_class_margin(torch.zeros(1, 3))
        ({'margin': tensor([-1.5000])}, {})
    """
    return {"margin": scores[..., 1] - scores[..., 0]} if scores.shape[-1] == 2 else {}


def check_finite(rows: Tensor, what: str, advice: str) -> None:
    """Refuse features or scores of which some are no numbers: whatever is counted from them means nothing.

    Args:
        rows: ``(N,)`` bool: which of them can be used.
        what: their name, and whose they are.
        advice: a sentence.

    Raises:
        UsageError: unless all can.

    Example:
        >>> check_finite(torch.tensor([True, False]), "features of the network", "It has diverged.")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: features of the network are not finite for 1 of 2 images. It has diverged.
    """
    if not bool(rows.all()):
        raise UsageError(f"{what} are not finite for {int((~rows).sum()):,} of {len(rows):,} images. {advice}")


def auc_setting(num_classes: int, *, there: bool) -> dict[str, str]:
    """For a result's settings: that of two classes there is no ``auc``; nothing of more classes, or where there is one.

    Args:
        num_classes: number of classes.
        there: whether there are test images of both.

    Example:
        >>> auc_setting(2, there=False), auc_setting(2, there=True)
        ({'auc': 'none, since all test images are of one class'}, {})
    """
    return {"auc": "none, since all test images are of one class"} if num_classes == 2 and not there else {}


def accuracies(scores: Tensor, targets: Tensor, *, positive: Tensor | None = None) -> dict[str, float]:
    """Shares of right answers: ``top1``, ``top5`` (from six classes on) and the mean of the classes' own shares.

    Of two classes also the area under the ROC curve of the second one, ``auc``, if there are images of both.

    Args:
        scores: ``(N, C)``; the largest predicts. As in :func:`right_answers`.
        targets: labels ``(N,)``, at least one.
        positive: ``(N,)`` how likely the second of two classes is; None is by how much its score is the greater.

    Raises:
        UsageError: if the scores of a row are not finite.

    Example:
        >>> accuracies(torch.eye(3)[[0, 1, 1, 1]], torch.tensor([0, 1, 1, 2]))
        {'top1': 0.75, 'mean_per_class': 0.6666666666666666}
    """
    targets = targets.to(scores.device)
    check_finite(
        usable(scores), "scores", "The features are too large, or the classifier has diverged: lower its rate."
    )
    found = {name: int(right.sum()) / len(targets) for name, right in right_answers(scores, targets).items()}
    shares = class_accuracies(confusion_matrix(scores, targets, num_classes=max(2, scores.shape[1])))
    found["mean_per_class"] = shares[shares.isfinite()].mean().item()
    if scores.shape[1] == 2:
        area = area_under_roc(scores[:, 1] - scores[:, 0] if positive is None else positive, targets)
        found |= {} if area is None else {"auc": area}
    return found


def precision(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """Mean average precision, ``map``, where an image may show several classes; over the classes that some image shows.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 1, 0, and -1 for what is not known.

    Raises:
        UsageError: if the scores of a row are not finite.

    Example:
        >>> precision(torch.eye(2), torch.eye(2))
        {'map': 1.0}
    """
    check_finite(
        scores.isfinite().all(1),
        "scores",
        "The features are too large, or the classifier has diverged: lower its rate.",
    )
    return {"map": mean_average_precision(scores, targets)}
