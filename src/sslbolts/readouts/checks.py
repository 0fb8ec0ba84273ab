"""Checks of features and labels, shared by all readouts."""

import torch
from torch import Tensor

from sslbolts.checks.multi_hot import check_values, has_label
from sslbolts.errors import UsageError

__all__ = ["as_features", "is_finite", "labeled", "number_of_classes", "usable", "without_autocast"]


def as_features(x: Tensor, name: str, *, min_rows: int = 1) -> Tensor:
    """``x`` as ``(N, D)`` in float32, or in float64 where it is that already.

    Raises:
        UsageError: if ``x`` is not a matrix of numbers, or has fewer than ``min_rows`` rows.
    """
    if x.ndim != 2 or x.is_complex():
        raise UsageError(f"{name} has shape {tuple(x.shape)}: features are a matrix (N, D), one row per image.")
    if len(x) < min_rows:
        raise UsageError(f"{name} has {len(x)} rows: at least {min_rows} are needed.")
    return x.detach() if x.dtype == torch.float64 else x.detach().float()


def is_finite(features: Tensor) -> Tensor:
    """``(rows,)`` bool: whether a row's features and the sum of their squares are finite."""
    return features.square().sum(1).isfinite()


def labeled(bank: Tensor, targets: Tensor, *, width: int, several: bool = False) -> tuple[Tensor, Tensor]:
    """The rows of a bank that have a label (not -1), checked against the queries' ``width``.

    Labels are class numbers ``(M,)``; or, where ``several`` says so, rows ``(M, C)`` of several classes.
    """
    bank = as_features(bank, "bank")
    if bank.shape[1] != width:
        raise UsageError(
            f"queries have {width} features and the bank has {bank.shape[1]}: they must come from one network."
        )
    if several and targets.ndim == 2 and len(targets) == len(bank) and targets.shape[1] > 1:
        check_values(targets)
    elif targets.shape != bank.shape[:1] or targets.is_floating_point():
        raise UsageError(
            f"bank_targets has shape {tuple(targets.shape)} and dtype {targets.dtype}: one integer label is needed "
            f"for each of the bank's {len(bank)} rows{', or a row of several classes' if several else ''}."
        )
    targets = targets.to(bank.device)
    known = has_label(targets)
    if not known.all():
        bank, targets = bank[known], targets[known]
    if not len(bank):
        raise UsageError("no row of the bank has a label: every target is -1.")
    return bank, targets


def number_of_classes(targets: Tensor, num_classes: int | None) -> int:
    """``num_classes``, or one more than the largest label.

    Raises:
        UsageError: if a label is not below ``num_classes``.
    """
    largest = int(targets.max())
    if num_classes is not None and largest >= num_classes:
        raise UsageError(
            f"the bank has label {largest} but num_classes={num_classes}: labels are 0 to num_classes - 1."
        )
    return num_classes if num_classes is not None else largest + 1


def usable(scores: Tensor) -> Tensor:
    """``(...)`` bool: whether of the scores ``(..., C)`` none is NaN, and the largest, which predicts, is finite."""
    return scores.amax(-1).isfinite()  # amax of NaN and a number is NaN


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which products of ``x`` keep its precision, whatever the caller's autocast says."""
    return torch.autocast(x.device.type, enabled=False)
