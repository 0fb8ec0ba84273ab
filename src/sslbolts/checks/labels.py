"""Class numbers, from the forms in which data sets have them.

A label is a whole number, in any type and also as the only number of an array; or a vector with a single 1 among zeros,
which is the number of that place. None, a negative number and NaN say that there is none. Nothing else has one meaning.

>>> [as_label(label) for label in (3, 3.0, torch.tensor([3]), [0, 0, 0, 1], None, -100)]
[3, 3, 3, 3, -1, -1]
>>> as_label("cat")
Traceback (most recent call last):
sslbolts.errors.UsageError: "cat" is no label: give the class's number, e.g. names.index("cat") of the sorted names, ...
"""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["as_label", "as_labels"]


def as_label(label: Any) -> int:
    """The class number that the label of an image means, -1 for none.

    Args:
        label: of any type.

    Raises:
        UsageError: if it means no class, or several; the message says what was given.
    """
    if label is None:
        return -1
    if isinstance(label, Integral | np.bool_):
        return max(int(label), -1)
    if isinstance(label, float | np.floating):
        if not (math.isnan(label) or float(label).is_integer()):
            raise _refused(f"{label}", "round it to a class's number")
        return -1 if math.isnan(label) else max(int(label), -1)
    if isinstance(label, str | bytes):
        raise _refused(
            f'"{label!s:.40}"', f'give the class\'s number, e.g. names.index("{label!s:.40}") of the sorted names'
        )
    if isinstance(label, Tensor | np.ndarray | list | tuple):
        return _of_array(label)
    raise _refused(f"of type {type(label).__name__}, it", "give the class's number")


def as_labels(labels: "Tensor | np.ndarray[Any, Any] | Sequence[Any]") -> Tensor:
    """The class numbers ``(N,)`` int64 that the labels of ``N`` images mean, -1 for none.

    Args:
        labels: ``(N,)`` of any type, ``(N, 1)``, or ``(N, C)`` with a single 1 in each row.

    Raises:
        UsageError: if one means no class, or several.

    Example:
        >>> as_labels(torch.tensor([[0, 1], [1, 0]])).tolist(), as_labels(np.array([2.0, np.nan])).tolist()
        ([1, 0], [2, -1])
    """
    if not isinstance(labels, Tensor):
        try:
            array = np.asarray(labels)
        except (TypeError, ValueError, RuntimeError):  # of several lengths or kinds
            array = np.empty(1, object)
        if array.ndim == 0 or not isinstance(labels, Sequence | np.ndarray):
            raise _refused(f"of type {type(labels).__name__}, it", "give the numbers of the images' classes")
        if array.dtype.kind not in "biuf":
            return torch.tensor([as_label(label) for label in labels], dtype=torch.int64)
        labels = torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))
    labels = labels.detach()
    if labels.ndim == 0 or labels.is_complex():
        raise _refused(f"a tensor {tuple(labels.shape)} of {labels.dtype}", "give the number of each image's class")
    if labels.ndim == 2 and labels.shape[1] > 1:
        single = ((labels == 0) | (labels == 1)).all(1) & ((labels == 1).sum(1) == 1)
        if not single.all():
            as_label(labels[(~single).nonzero()[0, 0]])
        return (labels == 1).int().argmax(1)
    if labels.ndim != 1 and labels.shape[1:].numel() != 1:
        raise _refused(f"an array {tuple(labels.shape[1:])}", "give the class's number")
    labels = labels.flatten()
    if labels.is_floating_point():
        labels = labels.nan_to_num(-1)
        broken = labels != labels.round()
        if broken.any():
            as_label(float(labels[broken][0]))
    return labels.long().clamp(min=-1)


def _of_array(label: Any) -> int:
    given = label.detach().cpu() if isinstance(label, Tensor) else label
    try:
        array = given.double().numpy() if isinstance(given, Tensor) and given.is_floating_point() else np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # of several lengths or kinds
        array = np.empty(0, object)
    if array.size == 1:
        return as_label(array.reshape(-1)[0].item())
    flat = array.reshape(-1)
    described = f"{array.tolist()}" if 0 < array.size <= 10 else f"an array {array.shape}"
    if array.dtype.kind not in "biuf" or array.size != max(array.shape, default=0):
        raise _refused(described, "give the class's number")
    if not np.isin(flat, (0, 1)).all():
        raise _refused(described, "give the number of one class: a vector has a single 1, and zeros")
    if flat.sum() != 1:
        count = f"{int(flat.sum())} classes" if flat.any() else "no class"
        several = "; several classes of one image are declared, by multi_label=True" if flat.sum() > 1 else ""
        raise _refused(f"{described}, which marks {count}", f"give the number of one class{several}")
    return int(flat.argmax())


def _refused(given: str, advice: str) -> UsageError:
    return UsageError(f"{given} is no label: {advice}, or None where there is none.")
