"""Accuracies of kNN and ridge, counted over the queries of all ranks."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sslbolts.distributed import all_sum
from sslbolts.readouts import knn_predict, ridge_classifier
from sslbolts.readouts.checks import is_finite

__all__ = ["accuracies", "is_finite"]


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
        NaN for all if the bank is empty; nothing if there is no query.

    Example:
        >>> x, y = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> accuracies(x, torch.tensor([0, 0, 1, 0]), x, y, k=[1], temperature=0.07, ridge=True)
        [0.75, 0.75]
    """
    if not len(bank):
        return [math.nan] * (len(k) + ridge)
    scores = list(knn_predict(features, bank, bank_targets, k=k, temperature=temperature)) if k else []
    if ridge:
        scores.append(ridge_classifier(features, bank, bank_targets).scores)
    finite = is_finite(features)  # of NaN, argmax gives a class that may be the right one
    right = [((score.argmax(1) == targets) & finite).sum() for score in scores]
    *hits, rows = all_sum(torch.stack([*right, right[0].new_tensor(len(targets))])).tolist()
    return [count / rows for count in hits] if rows else []
