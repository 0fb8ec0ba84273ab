"""Weighted nearest neighbors."""

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import positive
from sslbolts.errors import UsageError
from sslbolts.readouts.checks import as_features, labeled, number_of_classes, without_autocast

__all__ = ["Metric", "knn_predict", "nearest_neighbors", "neighbor_shares", "neighbor_votes"]

Metric = Literal["cosine", "euclidean"]
"""By what neighbors are near."""

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
    one, which changes no prediction. Of several classes per image the score is the share of the votes, see
    :func:`neighbor_shares`.

    Args:
        queries: features ``(N, D)``.
        bank: features ``(M, D)`` of the labeled images.
        bank_targets: labels ``(M,)``, -1 for a row that does not vote; or ``(M, C)`` of 1, 0, and -1 for what is not
            known.
        k: number of neighbors, or several numbers, which share one search. More than the bank has rows: all of them
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
    if not ks or not all(isinstance(number, Integral) and number >= 1 for number in ks):
        raise UsageError(f"k={k}: the number of neighbors is at least 1, and whole.")
    positive(temperature=temperature)
    queries = as_features(queries, "queries", min_rows=0)
    bank, targets = labeled(bank, bank_targets, width=queries.shape[1], several=True)
    classes = None if targets.ndim == 2 else number_of_classes(targets, num_classes)
    if max(ks) > len(bank):
        warnings.warn(f"k={max(ks)}, but the bank has {len(bank)} labeled rows: all of them vote.", stacklevel=3)

    similarity, neighbor = nearest_neighbors(queries, bank, max(ks))
    if classes is None:
        scores = neighbor_shares(similarity, neighbor, targets, ks, temperature=temperature)
    else:
        scores = neighbor_votes(similarity, targets[neighbor], ks, temperature=temperature, num_classes=classes)
    return scores if several else scores[0]


@torch.no_grad()
def nearest_neighbors(
    queries: Tensor, bank: Tensor, k: int, *, metric: Metric = "cosine", own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The ``k`` most similar rows of the bank, the most similar first.

    Args:
        queries: features ``(N, D)``.
        bank: features ``(M, D)``.
        k: number of neighbors; all rows, if the bank has fewer.
        metric: "cosine", or "euclidean" on the features as they are.
        own: ``(N,)`` rows of the bank that are the queries themselves, and not their own neighbors.

    Returns:
        Similarities ``(N, k)``: the cosine, or minus half the squared distance; and rows of the bank ``(N, k)``.

    Raises:
        UsageError: if the widths differ, or for another metric.

    Example:
        >>> bank = torch.tensor([[0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
        >>> nearest_neighbors(torch.tensor([[0.1, 2.8]]), bank, 2, metric="euclidean")[1].tolist()
        [[1, 0]]
    """
    queries, bank = as_features(queries, "queries", min_rows=0), as_features(bank, "bank")
    if queries.shape[1] != bank.shape[1]:
        raise UsageError(
            f"queries have {queries.shape[1]} features and the bank has {bank.shape[1]}: they must come from one "
            "network."
        )
    if metric == "cosine":
        queries, bank = F.normalize(queries), F.normalize(bank)
        half = None
    elif metric == "euclidean":
        center = bank.mean(0)  # changes no distance, and spares digits where all features have one large part
        queries, bank = queries - center, bank - center
        half = bank.square().sum(1) / 2
    else:
        raise UsageError(f'metric="{metric}": it is "cosine" or "euclidean".')
    k = min(k, len(bank) - (own is not None))
    similarity = queries.new_empty(len(queries), k)
    neighbor = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    rows = max(1, _SIMILARITIES_AT_ONCE // len(bank))
    with without_autocast(bank):
        for start in range(0, len(queries), rows):
            part = slice(start, start + rows)
            scores = queries[part] @ bank.T
            if half is not None:
                scores -= half
            if own is not None:
                scores.scatter_(1, own[part, None], -torch.inf)
            torch.topk(scores, k, out=(similarity[part], neighbor[part]))
    if half is not None:
        similarity -= queries.square().sum(1, keepdim=True) / 2
    return similarity, neighbor


@torch.no_grad()
def neighbor_votes(
    similarity: Tensor, labels: Tensor, ks: Sequence[int], *, temperature: float, num_classes: int
) -> Tensor:
    """Votes of the first of each query's neighbors, weighted by ``exp(similarity / temperature)``.

    Args:
        similarity: ``(N, K)``, the most similar first.
        labels: of the neighbors, ``(N, K)``.
        ks: how many vote.
        temperature: `τ > 0`; infinite for equal votes.
        num_classes: number of classes.

    Returns:
        ``(len(ks), N, num_classes)``; 0 for a class without a vote, and for no other.

    Example:
        >>> votes = neighbor_votes(torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[0, 1, 1]]), [1, 3],
        ...                         temperature=torch.inf, num_classes=2)
        >>> votes.tolist()
        [[[1.0, 0.0]], [[1.0, 2.0]]]
    """
    nearest = similarity[:, :1] if 1 / temperature > _SAFE_EXPONENT else 0.0
    least = torch.finfo(similarity.dtype).tiny  # a vote that is too small for the type is a vote
    votes = ((similarity - nearest) / temperature).exp().clamp(min=least)
    scores = similarity.new_zeros(len(ks), len(similarity), num_classes)
    for which, count in enumerate(ks):
        scores[which].scatter_add_(1, labels[:, :count], votes[:, :count])
    return scores


@torch.no_grad()
def neighbor_shares(
    similarity: Tensor, neighbor: Tensor, labels: Tensor, ks: Sequence[int], *, temperature: float
) -> Tensor:
    """The part of the votes of each query's neighbors that is for a class, where images show several classes.

    `score(q, c) = Σ_i w_i y_ic / Σ_i w_i` with `w_i = exp(similarity_i / temperature)`, over the first neighbors of
    which the class is known. It is a share, so that the scores of different queries can be compared with each other.

    Args:
        similarity: ``(N, K)``, the most similar first.
        neighbor: ``(N, K)`` rows of the bank.
        labels: of the bank, ``(M, C)`` of 1, 0, and -1 for what is not known.
        ks: how many vote.
        temperature: `τ > 0`; infinite for equal votes.

    Returns:
        ``(len(ks), N, C)`` in [0, 1]; 0 for a class that is known of no neighbor.

    Example:
        >>> labels = torch.tensor([[1, 0], [1, 1], [0, -1]])
        >>> neighbor_shares(torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[0, 1, 2]]), labels, [1, 3],
        ...                 temperature=torch.inf).tolist()
        [[[1.0, 0.0]], [[0.6666666865348816, 0.5]]]
    """
    votes = ((similarity - similarity[:, :1]) / temperature).exp()  # the nearest has 1: no share changes
    scores = votes.new_zeros(len(ks), len(votes), labels.shape[1])
    shown, known = (labels == 1).to(votes.dtype), (labels >= 0).to(votes.dtype)
    rows = max(1, _SIMILARITIES_AT_ONCE // max(1, neighbor.shape[1] * labels.shape[1]))
    for start in range(0, len(votes), rows):
        part = slice(start, start + rows)
        for which, count in enumerate(ks):
            of, weights = neighbor[part, :count], votes[part, :count, None]
            total = (weights * known[of]).sum(1)
            scores[which, part] = (weights * shown[of]).sum(1) / total.clamp(min=torch.finfo(votes.dtype).tiny)
    return scores
