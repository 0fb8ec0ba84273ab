"""Labels of images, and the draw of the few that are kept where most images are to count as unlabeled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbolts.checks import read_regular, whole
from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot
from sslbolts.data.apart import Apart
from sslbolts.data.images import Images, label_columns, plain_label
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar
from sslbolts.training.seeds import generator

__all__ = ["KeptLabels", "check_multi_label", "keep_labels", "keep_share", "labels_of", "read_rows"]

_LABELS, _FRACTION = 2, 3  # what a seed is for


@dataclass(frozen=True)
class KeptLabels:
    """The choice of the training images that keep their labels, where the others are to count as unlabeled.

    Args:
        per_class: so many images of every class.
        fraction: of the images of every class, in (0, 1], rounded; at least one of each.
        rows: the images themselves, or a file that lists them; see :func:`read_rows`.

    Raises:
        UsageError: for a value out of its range, or several of them.

    Example:
        >>> bool(KeptLabels()), KeptLabels(fraction=0.1).words
        (False, '10 % of each class')
    """

    per_class: int | None = None
    fraction: float | None = None
    rows: str | Path | Sequence[int] | None = None

    def __post_init__(self) -> None:
        given = {"labels_per_class": self.per_class, "labels_fraction": self.fraction, "labels_rows": self.rows}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) > 1:
            said = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise UsageError(f"{said}: each says which images keep their labels; give one of them.")
        whole(labels_per_class=self.per_class)
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"labels_fraction={self.fraction}: it is a share of every class, in (0, 1].")

    def __bool__(self) -> bool:
        return (self.per_class, self.fraction, self.rows) != (None, None, None)

    @property
    def words(self) -> str:
        """Which ones, for a result."""
        if self.per_class is not None:
            return f"{self.per_class} of each class"
        return "those of a list" if self.fraction is None else f"{100 * self.fraction:g} % of each class"

    def of(self, images: Images, *, seed: int) -> Tensor:
        """Labels ``(N,)`` of training images, -1 for those that do not keep theirs.

        Raises:
            UsageError: for images without labels, or whose labels are not known before they are read; or if the choice
                cannot be met.
        """
        held = getattr(images, "targets", None)
        if held is None or not images.labeled:
            said = "labels_per_class" if self.per_class is not None else "labels_fraction"
            raise UsageError(
                f"{said if self.rows is None else 'labels_rows'} needs training images whose labels are known before "
                "they are read: labeled folders, a named data set, or in_memory=True."
            )
        if self.per_class is not None:
            return keep_labels(held, self.per_class, seed=seed)
        if self.fraction is not None:
            return keep_share(held, self.fraction, seed=seed)
        assert self.rows is not None
        listed = read_rows(self.rows) if isinstance(self.rows, str | Path) else torch.as_tensor(self.rows)
        wrong = [row for row in listed.tolist() if not (0 <= row < len(held) and held[row] >= 0)]
        if wrong:
            raise UsageError(
                f"labels_rows: row {wrong[0]} is no labeled training image of {len(held):,}: the list is of another "
                "data set."
            )
        return torch.full_like(held, -1).index_copy(0, listed, held[listed])


def labels_of(images: Images) -> Tensor:
    """Labels ``(N,)``, -1 where an image has none: as the images hold them, or else read with the images one by one.

    Of images of several classes they are rows ``(N, C)``.

    Example:
        >>> from sslbolts.data import TensorImages
        >>> labels_of(TensorImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([1, -1]))).tolist()
        [1, -1]
    """
    held = getattr(images, "targets", None)
    if held is None:
        held = list(late_bar(Apart(_label, images, range(len(images)), at_a_time=16), "Labels"))
    columns = label_columns(images)
    return as_labels(held) if columns is None else as_multi_hot(held, classes=columns)


def check_multi_label(**given: Any) -> None:
    """Refuses what chooses images by their one class, where an image may show several.

    Args:
        **given: arguments of that kind; None where they are not given.

    Raises:
        UsageError: that names one.
    """
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name}= goes by the one class of an image, and multi_label=True: leave one of them out.")


def keep_labels(targets: Tensor, per_class: int, *, seed: int) -> Tensor:
    """As many images of every class, drawn at random.

    Args:
        targets: ``(N,)`` labels, -1 where an image has none.
        per_class: how many images of each class keep theirs.
        seed: of the draw.

    Returns:
        ``(N,)`` labels, -1 for all others.

    Raises:
        UsageError: if a class has fewer images.

    Example:
        >>> kept = keep_labels(torch.arange(12) % 3, 2, seed=0)
        >>> [int((kept == label).sum()) for label in (-1, 0, 1, 2)]
        [6, 2, 2, 2]
    """
    kept = torch.full_like(targets, -1)
    for label in sorted(set(targets.tolist()) - {-1}):
        rows = (targets == label).nonzero().squeeze(1)
        if len(rows) < per_class:
            raise UsageError(f"labels_per_class={per_class}, but class {label} has only {len(rows)} training images.")
        chosen = rows[torch.randperm(len(rows), generator=generator(seed, _LABELS, label))[:per_class]]
        kept[chosen] = label
    return kept


def keep_share(targets: Tensor, fraction: float, *, seed: int) -> Tensor:
    """The same share of the images of every class, drawn at random; at least one of each.

    Args:
        targets: ``(N,)`` labels, -1 where an image has none.
        fraction: in (0, 1]; of a class's images, rounded.
        seed: of the draw.

    Returns:
        ``(N,)`` labels, -1 for all others.

    Example:
        >>> kept = keep_share(torch.tensor([0] * 30 + [1] * 10), 0.1, seed=0)
        >>> [int((kept == label).sum()) for label in (0, 1)]
        [3, 1]
    """
    kept = torch.full_like(targets, -1)
    for label in sorted(set(targets.tolist()) - {-1}):
        rows = (targets == label).nonzero().squeeze(1)
        count = max(1, round(fraction * len(rows)))
        kept[rows[torch.randperm(len(rows), generator=generator(seed, _FRACTION, label))[:count]]] = label
    return kept


def read_rows(path: str | Path) -> Tensor:
    """Rows of a data set that a text file lists, one number per line; a hash sign begins a comment.

    Raises:
        UsageError: for no such file, or one that lists something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f'there is no file "{path}" of rows.')
    words = [line.partition("#")[0].strip() for line in read_regular(path).decode().splitlines()]
    wrong = [word for word in words if word and not word.isdecimal()]
    if wrong or not any(words):
        raise UsageError(
            f'"{path}" lists no rows: one number per line is needed, and it has "{(wrong or [""])[0][:40]}".'
        )
    return torch.tensor([int(word) for word in words if word])


def _label(images: Images, row: int) -> Any:
    return plain_label(images.read(row)[1])
