"""The linear probe in closed form."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import is_number
from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError
from sslbolts.readouts.checks import as_features, labeled, number_of_classes, without_autocast
from sslbolts.readouts.precision import mean_average_precision

__all__ = ["RIDGE_PENALTIES", "RidgeReadout", "ridge_classifier", "ridge_memory", "ridge_of_several"]

RIDGE_PENALTIES = tuple(10 ** (exponent / 2) for exponent in range(-12, 3))
"""Penalties per bank row, half a decade apart, from 1e-6 to 10."""

_SCORES_AT_ONCE = 2**24
_MOST_MEMORY = 4 * 2**30  # bytes


class RidgeReadout(NamedTuple):
    """Answer of a ridge classifier.

    Attributes:
        scores: ``(N, num_classes)`` of the queries; ``scores.argmax(-1)`` predicts.
        penalty: the penalty per bank row that was chosen.
        bank_accuracy: leave-one-out accuracy on the bank with it, in [0, 1]; of several classes per image the mean
            average precision.
        candidates: the same of every penalty, the largest penalty first.
    """

    scores: Tensor
    penalty: float
    bank_accuracy: float
    candidates: dict[float, float]


@torch.no_grad()
def ridge_classifier(
    queries: Tensor,
    bank: Tensor,
    bank_targets: Tensor,
    *,
    num_classes: int | None = None,
    penalties: Sequence[float] = RIDGE_PENALTIES,
) -> RidgeReadout:
    r"""Linear classifier by least squares on one-hot labels, over a grid of penalties from one eigendecomposition.

    With `X` the bank's features, standardized by the bank's mean and deviation, and `Y` its one-hot labels, centered:
    `XᵀX = V Λ Vᵀ` and `W(λ) = V (Λ + λ M)^-1 Vᵀ Xᵀ Y`. The penalty is the one whose exact leave-one-out prediction of
    the bank's own labels, `(ŷ_i - h_i y_i) / (1 - h_i)` with leverages `h_i`, is right most often (the larger one on a
    tie); the queries have no part in the choice. Deterministic, no learning rate, no epochs.

    Args:
        queries: features ``(N, D)``; those that are not finite have scores that are not, either.
        bank: features ``(M, D)`` of the labeled images.
        bank_targets: labels ``(M,)``, -1 for a row to leave out.
        num_classes: number of classes; None for one more than the largest label.
        penalties: candidates for `λ > 0`, per bank row.

    Returns:
        Scores of the queries, the penalty chosen, and its leave-one-out accuracy on the bank.

    Raises:
        UsageError: for shapes that do not fit, a label of no class, a penalty that is not positive, features of the
            bank that are not finite, or more memory than 4 GB.

    Source: Rifkin and Lippert, Notes on Regularized Least Squares, MIT-CSAIL-TR-2007-025.

    Example:
        >>> bank = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
        >>> readout = ridge_classifier(bank[:50], bank[50:], (bank[50:, 0] > 0).long())
        >>> (readout.scores.argmax(-1) == (bank[:50, 0] > 0)).float().mean().item() > 0.9
        True
    """
    _check_penalties(penalties)
    queries = as_features(queries, "queries", min_rows=0)
    bank, targets = labeled(bank, bank_targets, width=queries.shape[1])
    classes = number_of_classes(targets, num_classes)
    ridge_memory(bank.shape[1], classes, len(penalties))
    home = queries.device
    queries, bank, targets = with_float64(queries), with_float64(bank), with_float64(targets)
    with without_autocast(bank):
        x, mean, std = _standardized(bank)
        prior = torch.bincount(targets, minlength=classes).double() / len(targets)

        # In float32 the small eigenvalues of XᵀX drown in the rounding of the large ones; what follows needs no more.
        moment, cross = _moments(x, targets, classes)
        vectors, grid, shrink = _decomposed(moment, bank, penalties)
        cross = vectors.T @ cross

        right = _leave_one_out(x, targets, vectors, shrink, cross, prior)
        best = right.index(max(right))
        weight = vectors @ (shrink[:, best, None] * cross)
        scores = _scores(queries, mean, std, weight, prior)
    accuracies = {penalty: count / len(x) for penalty, count in zip(grid.tolist(), right)}
    return RidgeReadout(scores.to(home), float(grid[best]), right[best] / len(x), accuracies)


@torch.no_grad()
def ridge_of_several(
    queries: Tensor, bank: Tensor, bank_targets: Tensor, *, penalties: Sequence[float] = RIDGE_PENALTIES
) -> RidgeReadout:
    """As :func:`ridge_classifier`, where an image may show several classes: least squares on rows of 1 and 0.

    What is not known counts as the class's share. The penalty is the one whose exact leave-one-out predictions of the
    bank's own labels have the highest mean average precision (the larger one on a tie).

    Args:
        queries: features ``(N, D)``.
        bank: features ``(M, D)`` of the labeled images.
        bank_targets: ``(M, C)`` of 1, 0, and -1 for what is not known; a row of -1 is left out.
        penalties: candidates for `λ > 0`, per bank row.

    Returns:
        Scores of the queries, the penalty chosen, and its mean average precision on the bank.

    Raises:
        UsageError: as :func:`ridge_classifier`; or if no image of the bank shows any class.

    Example:
        >>> bank = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
        >>> readout = ridge_of_several(bank[:50], bank[50:], (bank[50:, :2] > 0).long())
        >>> ((readout.scores > 0.5) == (bank[:50, :2] > 0)).float().mean().item() > 0.9
        True
    """
    _check_penalties(penalties)
    queries = as_features(queries, "queries", min_rows=0)
    bank, targets = labeled(bank, bank_targets, width=queries.shape[1], several=True)
    if targets.ndim != 2:
        raise UsageError(f"bank_targets has shape {tuple(targets.shape)}: rows (M, C) of several classes are needed.")
    if not bool((targets == 1).any()):
        raise UsageError("no image of the bank shows any class, so there is nothing to learn.")
    ridge_memory(bank.shape[1], targets.shape[1], len(penalties))
    home = queries.device
    queries, bank, targets = with_float64(queries), with_float64(bank), with_float64(targets)
    with without_autocast(bank):
        x, mean, std = _standardized(bank)
        known = targets >= 0
        prior = (targets == 1).double().sum(0) / known.sum(0).clamp(min=1)
        wanted = torch.where(known, targets.double(), prior)  # (M, C)
        moment = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        cross = x.new_zeros(x.shape[1], targets.shape[1], dtype=torch.float64)
        for rows, labels in zip(torch.split(x, 8192), torch.split(wanted, 8192)):
            wide = rows.double()
            moment.addmm_(wide.T, wide)
            cross.addmm_(wide.T, labels - prior)
        vectors, grid, shrink = _decomposed(moment, bank, penalties)
        cross = vectors.T @ cross
        z = x @ vectors.to(x.dtype)
        reached = []
        for candidate in range(len(grid)):
            own = shrink[:, candidate].to(x.dtype)
            fitted = z @ (own[:, None] * cross.to(x.dtype)) + prior.to(x.dtype)
            leverage = (1 / len(x) + z.square() @ own)[:, None]
            left_out = (fitted - leverage * wanted.to(x.dtype)) / (1 - leverage).clamp(min=1e-6)
            reached.append(mean_average_precision(left_out, targets))
        best = reached.index(max(reached))
        weight = vectors @ (shrink[:, best, None] * cross)
        scores = _scores(queries, mean, std, weight, prior)
    return RidgeReadout(scores.to(home), float(grid[best]), reached[best], dict(zip(grid.tolist(), reached)))


def ridge_memory(width: int, classes: int, penalties: int = len(RIDGE_PENALTIES)) -> int:
    """Bytes that a ridge classifier takes beside the features: a few matrices ``(D, D)``, and one ``(D, L * C)``.

    Raises:
        UsageError: if they are more than 4 GB.

    Example:
        >>> ridge_memory(2048, 1000) < 2**28
        True
    """
    needed = 24 * width**2 + 4 * width * penalties * classes
    if needed > _MOST_MEMORY:
        raise UsageError(
            f"ridge regression of {classes:,} classes on features of width {width:,} would take {needed / 2**30:.1f} "
            "GB: pool the features to fewer, or take fewer classes."
        )
    return needed


def _check_penalties(penalties: Sequence[float]) -> None:
    if not penalties or not all(is_number(penalty) and penalty > 0 for penalty in penalties):
        raise UsageError(f"penalties={tuple(penalties)}: at least one is needed, and all must be positive.")


def _standardized(bank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The bank by its mean and deviation, and these."""
    mean = bank.mean(0, dtype=torch.float64).to(bank.dtype)
    std = (bank - mean).square_().mean(0, dtype=torch.float64).sqrt()
    std = torch.where(std > 0, std, 1.0).to(bank.dtype)
    return (bank - mean).div_(std), mean, std


def _scores(queries: Tensor, mean: Tensor, std: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
    return ((queries - mean) / std) @ weight.to(mean.dtype) + prior.to(mean.dtype)


def _decomposed(moment: Tensor, bank: Tensor, penalties: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors of ``XᵀX``, the penalties from the largest down, and `1 / (Λ + λ M)` ``(D, L)``."""
    if not bool(moment.isfinite().all()):
        raise UsageError(
            f"{int((~bank.isfinite().all(1)).sum())} of the bank's {len(bank)} rows have features that are not "
            "finite (if none, they are too large for float32): leave out such rows, which say nothing of a class."
        )
    eigenvalues, vectors = torch.linalg.eigh(moment)
    grid = torch.tensor(sorted(penalties, reverse=True), dtype=torch.float64, device=moment.device)
    return vectors, grid, 1 / (eigenvalues.clamp(min=0)[:, None] + len(bank) * grid)


def _moments(x: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """``XᵀX`` and ``XᵀY`` in float64, in chunks, so that no float64 copy of the bank is made."""
    moment = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    cross = x.new_zeros(x.shape[1], classes, dtype=torch.float64)
    rows_at_once = max(1, min(8192, _SCORES_AT_ONCE // classes))
    for rows, labels in zip(torch.split(x, rows_at_once), torch.split(targets, rows_at_once)):
        wide = rows.double()
        moment.addmm_(wide.T, wide)
        cross.addmm_(wide.T, F.one_hot(labels, classes).double())
    return moment, cross


def _leave_one_out(
    x: Tensor, targets: Tensor, vectors: Tensor, shrink: Tensor, cross: Tensor, prior: Tensor
) -> list[int]:
    """Number of bank rows that each penalty predicts rightly when the row itself is left out of the fit."""
    width, candidates = shrink.shape
    weights = (shrink[:, :, None] * cross[:, None, :]).reshape(width, -1).to(x.dtype)  # (D, L * C)
    vectors, shrink, prior = vectors.to(x.dtype), shrink.to(x.dtype), prior.to(x.dtype)
    right = torch.zeros(candidates, dtype=torch.int64, device=x.device)
    rows = max(1, _SCORES_AT_ONCE // weights.shape[1])
    for chunk, labels in zip(torch.split(x, rows), torch.split(targets, rows)):
        z = chunk @ vectors
        fitted = (z @ weights).view(len(z), candidates, -1) + prior
        leverage = 1 / len(x) + z.square() @ shrink  # (rows, L)
        # Dividing by the positive 1 - h changes no argmax, so only the row's own share is taken from its own class.
        own = labels[:, None, None].expand(-1, candidates, 1)
        fitted.scatter_add_(2, own, -leverage[:, :, None])
        right += (fitted.argmax(2) == labels[:, None]).sum(0)
    counts: list[int] = right.tolist()
    return counts
