"""Weighted nearest neighbours."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.readouts.checks import as_features, labelled, number_of_classes, without_autocast

__all__ = ["knn_predict"]

_SIMILARITIES_AT_ONCE = 2**25
_SAFE_EXPONENT = 80.0  # exp(88.7) is the largest float32


@torch.no_grad()
def knn_predict(
    queries: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    *,
    k: int | Sequence[int] = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
) -> Tensor:
    r"""Votes of the `k` nearest bank rows for each class, by cosine similarity.

    `score(q, c) = Σ_{i in kNN(q), y_i = c} exp(s_i / τ)` with `s_i = cos(q, b_i)`, in float32 at least, whatever the
    features' dtype. Below `τ = 1/80`, where `exp(1/τ)` exceeds float32, each query's votes are divided by its largest
    one, which changes no prediction.

    Args:
        queries: features ``(N, D)``.
        bank: features ``(M, D)`` of the labelled images.
        bank_targets: labels ``(M,)``, -1 for a row that does not vote.
        k: number of neighbours, or several numbers, which share one search. More than the bank has rows: all of them
            vote, and a warning says so.
        temperature: `τ > 0`.
        num_classes: number of classes; None for one more than the largest label.

    Returns:
        Scores ``(N, num_classes)``, or ``(len(k), N, num_classes)`` for several `k`; ``scores.argmax(-1)`` predicts.

    Raises:
        UsageError: for shapes that do not fit, a label of no class, `k < 1`, or `τ <= 0`.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    arXiv:1805.01978 (`k` = 200); Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021,
    arXiv:2104.14294 (`k` = 20, `τ` = 0.07).

    Example:
        >>> bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> scores = knn_predict(torch.tensor([[2.0, 0.1]]), bank, torch.tensor([0, 0, 1]), k=2)
        >>> scores.argmax(-1).item()
        0
    """
    several = not isinstance(k, int)
    ks = list(k) if isinstance(k, Sequence) else [k]
    if not ks or min(ks) < 1:
        raise UsageError(f"k={k}: the number of neighbours is at least 1.")
    if not temperature > 0:
        raise UsageError(f"temperature={temperature}: it must be positive.")
    queries = as_features(queries, "queries", min_rows=0)
    bank, targets = labelled(bank, bank_targets, width=queries.shape[1])
    classes = number_of_classes(targets, num_classes)
    if max(ks) > len(bank):
        warnings.warn(f"k={max(ks)}, but the bank has {len(bank)} labelled rows: all of them vote.", stacklevel=3)

    queries, bank = F.normalize(queries), F.normalize(bank)
    scores = queries.new_zeros(len(ks), len(queries), classes)
    with without_autocast(bank):
        rows = max(1, _SIMILARITIES_AT_ONCE // len(bank))
        for start in range(0, len(queries), rows):
            similarity, neighbour = (queries[start : start + rows] @ bank.T).topk(min(max(ks), len(bank)))
            nearest = similarity[:, :1] if 1 / temperature > _SAFE_EXPONENT else 0.0
            votes = ((similarity - nearest) / temperature).exp()
            label = targets[neighbour]
            for which, count in enumerate(ks):
                scores[which, start : start + rows].scatter_add_(1, label[:, :count], votes[:, :count])
    return scores if several else scores[0]
