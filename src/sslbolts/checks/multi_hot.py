"""Labels of several classes for each image: rows of 0 and 1, one number per class.

A column is a class. 1 says that an image shows it, 0 that it does not, a negative number or NaN that nobody knows; an
image of which nothing is known has no label. Rows of several classes are declared, as ``multi_label=True``: a matrix
with a single 1 in each row could as well be class numbers (:mod:`sslbolts.checks.labels`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["as_multi_hot", "check_values", "has_label", "is_one_hot", "multi_hot_row"]


def as_multi_hot(labels: "Tensor | np.ndarray[Any, Any] | Sequence[Any]", *, classes: int | None = None) -> Tensor:
    """Labels of several classes in the one form in which they are kept.

    Values of tensors are not looked at, which would make the host wait for a device: see :func:`check_values`.

    Args:
        labels: ``(N, C)`` of bool, integers or floats, on any device; or a list of such rows, None for an image without
            a label.
        classes: `C`, if it is known.

    Returns:
        ``(N, C)`` float32 of 1, 0, and -1 for what is not known.

    Raises:
        UsageError: for another shape; the message says it.

    Example:
        >>> as_multi_hot(torch.tensor([[True, False, True]])).tolist(), as_multi_hot([[0, 1], None]).tolist()
        ([[1.0, 0.0, 1.0]], [[0.0, 1.0], [-1.0, -1.0]])
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "biuf":
        labels = torch.from_numpy(labels.astype(np.float32))
    if not isinstance(labels, Tensor):
        if not isinstance(labels, Sequence | np.ndarray) or isinstance(labels, str | bytes):
            raise UsageError(f"labels of type {type(labels).__name__} are no rows of classes: {_needed(classes)}.")
        if classes is None:
            classes = next((multi_hot_row(row).numel() for row in labels if row is not None), None)
        if not len(labels) or classes is None:
            raise UsageError(f"{len(labels)} labels, none of which is a row of classes: {_needed(classes)}.")
        return torch.stack([multi_hot_row(row, classes) for row in labels])
    if labels.ndim != 2 or labels.is_complex() or labels.shape[1] < 2 or classes not in (None, labels.shape[1]):
        kind = f"of shape {tuple(labels.shape)} and {labels.dtype}"
        raise UsageError(f"labels {kind} are no rows of several classes: {_needed(classes)}.")
    return labels.detach().float().nan_to_num(-1).clamp(min=-1)


def multi_hot_row(label: Any, classes: int | None = None) -> Tensor:
    """The row of one image.

    Args:
        label: ``(C,)`` of any type; None is an image without a label.
        classes: `C`, if it is known.

    Returns:
        ``(C,)`` float32 of 1, 0, and -1 for what is not known.

    Raises:
        UsageError: for anything else; the message says what was given.

    Example:
        >>> multi_hot_row(np.array([1, 0, 1])).tolist()
        [1.0, 0.0, 1.0]
        >>> multi_hot_row(7, 10)
        Traceback (most recent call last):
        sslbolts.errors.UsageError: 7 is no row of several classes: with multi_label=True a label is 10 numbers, ...
    """
    if label is None and classes is not None:
        return torch.full((classes,), -1.0)
    try:
        row = torch.as_tensor(label).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{label!r:.40} is no row of several classes: {_needed(classes)}.") from None
    if row.ndim > 1 and row.numel() == max(row.shape):
        row = row.flatten()
    if row.ndim != 1 or row.is_complex() or len(row) < 2 or classes not in (None, len(row)):
        said = f"{row.tolist()}" if row.numel() <= 10 else f"an array {tuple(row.shape)}"
        raise UsageError(f"{said} is no row of several classes: {_needed(classes)}.")
    row = row.float().nan_to_num(-1).clamp(min=-1)
    check_values(row[None])
    return row


def check_values(rows: Tensor) -> None:
    """Refuse rows of other numbers than 1, 0 and -1.

    Args:
        rows: ``(N, C)``, as :func:`as_multi_hot` gives them.

    Raises:
        UsageError: names one of them.
    """
    wrong = (rows != 0) & (rows.abs() != 1)
    if bool(wrong.any()):
        raise UsageError(
            f"rows of several classes hold the number {float(rows[wrong][0]):g}, in an array {tuple(rows.shape)}: they "
            "are 1 where an image shows the class, 0 where not, and -1 where nobody knows."
        )


def has_label(targets: Tensor) -> Tensor:
    """``(N,)`` bool: which images have a label.

    Args:
        targets: class numbers ``(N,)``, -1 for none; or rows ``(N, C)`` of several classes.

    Example:
        >>> has_label(torch.tensor([2, -1])).tolist(), has_label(torch.tensor([[0, -1], [-1, -1]])).tolist()
        ([True, False], [True, False])
    """
    known = targets >= 0
    return known if targets.ndim == 1 else known.any(1)


def is_one_hot(labels: Any) -> bool:
    """True for a matrix of more than one column with a single 1 in each row, and zeros: it could be class numbers.

    Example:
        >>> is_one_hot(torch.eye(3)), is_one_hot(torch.ones(2, 3)), is_one_hot(torch.arange(3))
        (True, False, False)
    """
    if not isinstance(labels, Tensor) or labels.ndim != 2 or labels.shape[1] < 2 or not len(labels):
        return False
    return bool((((labels == 0) | (labels == 1)).all(1) & ((labels == 1).sum(1) == 1)).all())


def _needed(classes: int | None) -> str:
    numbers = "one number for each class" if classes is None else f"{classes:,} numbers, one for each class"
    return f"with multi_label=True a label is {numbers}: 1 where an image shows it, 0 where not"
