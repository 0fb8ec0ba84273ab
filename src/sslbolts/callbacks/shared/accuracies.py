"""Accuracies of kNN and ridge, or their mean average precision, over the queries of all ranks."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from sslbolts.checks.multi_hot import check_values
from sslbolts.distributed import all_sum, gather_ragged
from sslbolts.errors import UsageError
from sslbolts.readouts import knn_predict, mean_average_precision, ridge_classifier, ridge_of_several
from sslbolts.readouts.checks import is_finite
from sslbolts.readouts.ridge import ridge_memory

__all__ = ["accuracies", "is_finite", "precision_of_all", "precisions"]

_SCORES_AT_ONCE = 2**26


def accuracies(
    features: Tensor,
    targets: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    *,
    k: Sequence[int],
    temperature: float,
    ridge: bool,
) -> list[float]:
    """Shares of queries whose class is found by a bank: by kNN for each ``k``, then by ridge if that is asked for.

    Args:
        features: of this rank's queries, ``(Q, D)``; those that are not finite count as wrong.
        targets: their labels ``(Q,)``.
        bank: ``(N, D)``, finite, the same on all ranks.
        bank_targets: ``(N,)``.
        k: numbers of neighbors; none for ridge alone.
        temperature: of the votes.
        ridge: whether ridge is asked for.

    Returns:
        NaN for all if the bank is empty, and for ridge where it would take more than 4 GB, with a warning; nothing if
        there is no query.

    Example:
        >>> x, y = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> accuracies(x, torch.tensor([0, 0, 1, 0]), x, y, k=[1], temperature=0.07, ridge=True)
        [0.75, 0.75]
    """
    if not len(bank):
        return [math.nan] * (len(k) + ridge)
    # Among the classes that the bank has, since labels may be large and few.
    classes = torch.unique(bank_targets[bank_targets >= 0])
    places = torch.where(bank_targets >= 0, torch.searchsorted(classes, bank_targets), -1)
    rows_at_once = max(1, _SCORES_AT_ONCE // max(1, len(classes) * len(k)))
    answers = []
    if k:
        parts = [
            knn_predict(part, bank, places, k=k, temperature=temperature).argmax(2)
            for part in torch.split(features, rows_at_once)
        ]
        answers += list(torch.cat(parts, 1))
    told = ridge and _fits(bank.shape[1], len(classes))
    if told:
        answers.append(ridge_classifier(features, bank, places).scores.argmax(1))
    finite = is_finite(features)  # of NaN, argmax gives a class that may be the right one
    right = [((classes[answer] == targets) & finite).sum() for answer in answers]
    *hits, rows = all_sum(torch.stack([*right, torch.tensor(len(targets), device=targets.device)])).tolist()
    found = [count / rows for count in hits] if rows else []
    return found + [math.nan] * (ridge and not told and rows > 0)


def precisions(
    features: Tensor,
    targets: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    *,
    k: Sequence[int],
    temperature: float,
    ridge: bool,
) -> list[float]:
    """Mean average precisions where an image may show several classes: of kNN for each ``k``, then of ridge.

    As :func:`accuracies`, but for labels.

    Args:
        features: of this rank's queries, ``(Q, D)``; those that are not finite come last in every class.
        targets: ``(Q, C)`` of 1, 0, and -1 for what is not known.
        bank: ``(N, D)``, finite, the same on all ranks.
        bank_targets: ``(N, C)``.
        k: numbers of neighbors; none for ridge alone.
        temperature: of the votes.
        ridge: whether ridge is asked for.

    Returns:
        NaN for all if the bank is empty or no query shows any class, and for ridge where it would take more than 4 GB
        or no image of the bank shows any; nothing if there is no query.

    Example:
        >>> x, y = torch.eye(4), torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0]])
        >>> precisions(x, y, x, y, k=[1], temperature=0.07, ridge=False)
        [1.0]
    """
    if not len(bank):
        return [math.nan] * (len(k) + ridge)
    if targets.ndim == 1:  # a rank without queries does not know their form
        targets = bank_targets[:0]
    scores = []
    if k:
        rows_at_once = max(1, _SCORES_AT_ONCE // max(1, targets.shape[1] * len(k)))
        parts = [
            knn_predict(part, bank, bank_targets, k=k, temperature=temperature)
            for part in torch.split(features, rows_at_once)
        ]
        scores += list(torch.cat(parts, 1))
    told = ridge and bool((bank_targets == 1).any()) and _fits(bank.shape[1], targets.shape[1])
    if told:
        scores.append(ridge_of_several(features, bank, bank_targets).scores)
    found = [precision_of_all(score, targets, finite=is_finite(features)) for score in scores]
    reached = [value for value in found if value is not None]
    return reached + [math.nan] * (ridge and not told and len(reached) == len(found))


def precision_of_all(scores: Tensor, targets: Tensor, *, finite: Tensor) -> float | None:
    """Mean average precision over the queries of all ranks; None if there are none. All ranks must call it.

    Args:
        scores: of this rank's queries, ``(Q, C)``.
        targets: ``(Q, C)`` of 1, 0, and -1 for what is not known.
        finite: ``(Q,)`` bool; others come last in every class, with each other as equals.
    """
    scores = scores.float().masked_fill(~finite[:, None], -torch.inf).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    scores, targets = gather_ragged(scores), gather_ragged(targets)
    if not len(targets):
        return None
    check_values(targets)
    return mean_average_precision(scores, targets)


def _fits(width: int, classes: int) -> bool:
    try:
        ridge_memory(width, classes)
    except UsageError as error:
        warnings.warn(f"{error} The monitor logs NaN for it.", stacklevel=2)
        return False
    return True
