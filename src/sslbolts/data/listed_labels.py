"""Labels that a dataset lists, so that no image need be read for them."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot
from sslbolts.data.items import LABEL_KEYS
from sslbolts.errors import UsageError

__all__ = ["classes_of", "columns_of", "listed_labels"]


def listed_labels(dataset: Any, label_key: str | None = None) -> Iterator[Any]:
    """Lists of one label for each item, of any type: ``targets`` or ``labels``, or a column of Hugging Face.

    Args:
        dataset: map-style.
        label_key: name of the column; None is the first of those that items are looked through for.
    """
    columns = getattr(dataset, "column_names", None)
    if isinstance(columns, list) and isinstance(getattr(dataset, "features", None), Mapping):
        key = label_key or next((key for key in LABEL_KEYS if key in columns), None)
        if key in columns:
            yield list(dataset[key])
        return
    for name in ("targets", "labels"):
        listed: Any = getattr(dataset, name, None)
        if isinstance(listed, list | tuple | np.ndarray | Tensor) and len(listed) == len(cast(Sized, dataset)):
            yield listed


def classes_of(
    dataset: Any, label_key: str | None, num_classes: int | None
) -> tuple[tuple[str, ...] | None, dict[Any, int]]:
    """Names of the classes, None where nothing says them; and the number of each name or of each label with gaps.

    Args:
        dataset: map-style.
        label_key: of the column of labels.
        num_classes: as declared; labels below it stay as they are.

    Example:
        >>> class Listed(torch.utils.data.TensorDataset):
        ...     targets = [7, 100_000, 7]
        >>> classes_of(Listed(torch.zeros(3, 3, 8, 8)), None, None)
        (('7', '100000'), {7: 0, 100000: 1})
    """
    if names := getattr(dataset, "classes", None) or _names_of_column(dataset, label_key):
        return tuple(str(name) for name in names), {str(name): number for number, name in enumerate(names)}
    for listed in listed_labels(dataset, label_key):
        if isinstance(listed, Tensor | np.ndarray) and listed.ndim > 1:
            continue
        if all(isinstance(label, str) for label in listed):
            found = sorted(set(listed))
            return tuple(found), {name: number for number, name in enumerate(found)}
        try:
            ids = [label for label in torch.unique(as_labels(listed)).tolist() if label >= 0]
        except UsageError:
            continue
        most = len(ids) if num_classes is None else num_classes
        if ids and ids[-1] >= most >= len(ids):
            return tuple(map(str, ids)), {label: number for number, label in enumerate(ids)}
    return None, {}


def columns_of(dataset: Any, label_key: str | None) -> int | None:
    """Number of classes where an image may show several: of the dataset's ``classes``, or of the rows that it lists.

    Args:
        dataset: map-style.
        label_key: of the column of labels.

    Returns:
        None where nothing says it.
    """
    if names := getattr(dataset, "classes", None):
        return len(names)
    for listed in listed_labels(dataset, label_key):
        try:
            return as_multi_hot(listed).shape[1]
        except UsageError:
            continue
    return None


def _names_of_column(dataset: Any, label_key: str | None) -> list[str] | None:
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return None
    key = label_key or next((key for key in LABEL_KEYS if key in features), None)
    return getattr(features.get(key), "names", None)
