"""Images as they are stored: a tensor, or anything that gives them one by one."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot, check_values, has_label
from sslbolts.data.apart import Apart
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.transforms.levels import rows_of

__all__ = [
    "Images",
    "Label",
    "SomeImages",
    "TensorImages",
    "UnreadableImage",
    "check_images",
    "chosen",
    "dtype_of",
    "label_columns",
    "plain_label",
    "read_array",
    "readable",
]


Label = int | Tensor
"""A class number, -1 for none; or, of several classes, ``(C,)`` float32 of 1, 0, and -1 for what is not known."""


class UnreadableImage(Exception):
    """This image cannot be read and is to be left out (it has been counted)."""


class Images(Protocol):
    """Images that are read one by one.

    Attributes:
        in_chans: channels of every image.
        dtype: uint8, which may be left unsaid, or uint16 where a range of values was declared.
        label_columns: number of classes where an image may show several, so that labels are rows; None, which may be
            left unsaid, where they are class numbers.
    """

    in_chans: int

    @property
    def labeled(self) -> bool:
        """True if any image has a label."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label, -1 where it has none.

        Raises:
            UnreadableImage: if it is to be left out.
        """
        ...


class TensorImages:
    """Images of one size, held in memory.

    Args:
        data: ``(N, C, H, W)``, uint8 or uint16.
        targets: labels of ``N`` images, as :func:`~sslbolts.checks.labels.as_labels` takes them; None where none has.
        multi_label: an image may show several classes: labels are rows ``(N, C)``, as
            :func:`~sslbolts.checks.multi_hot.as_multi_hot` takes them. Else rows with a single 1 are class numbers.

    Raises:
        UsageError: for labels that are none, or another number of them.

    Example:
        >>> images = TensorImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
        >>> len(images), images.labeled
        (4, False)
    """

    def __init__(
        self, data: Tensor, targets: Tensor | Sequence[Any] | None = None, *, multi_label: bool = False
    ) -> None:
        self.data = data
        if multi_label:
            if targets is None:
                raise UsageError("multi_label=True needs targets=: rows (N, C) of 1, 0, and -1 for what is not known.")
            self.targets = as_multi_hot(targets)
            check_values(self.targets)
        else:
            self.targets = torch.full((len(data),), -1) if targets is None else as_labels(targets)
        self.label_columns = self.targets.shape[1] if multi_label else None
        if len(self.targets) != len(data):
            raise UsageError(f"{len(self.targets):,} labels were given for {len(data):,} images.")
        self.labeled = bool(has_label(self.targets).any())
        self.in_chans = data.shape[1]
        self.dtype = data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label."""
        label = self.targets[index]
        return self.data[index], label if label.ndim else int(label)


class SomeImages:
    """Some of the images that are read one by one.

    Args:
        images: all of them.
        rows: which of them, by their positions.
    """

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self.images = images
        self.rows = list(rows)
        self.labeled = images.labeled
        self.in_chans = images.in_chans
        self.dtype = dtype_of(images)
        self.label_columns = label_columns(images)
        self.on_bad_image = getattr(images, "on_bad_image", "raise")

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label."""
        return self.images.read(self.rows[index])


def chosen(images: Images, rows: Tensor) -> Images:
    """Some of the images, in memory where all are.

    Args:
        images: all of them.
        rows: ``(n,)`` positions.

    Example:
        >>> images = TensorImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4))
        >>> chosen(images, torch.tensor([3, 1])).read(0)[1]
        3
    """
    if isinstance(images, TensorImages):
        several = images.label_columns is not None
        return TensorImages(rows_of(images.data, rows), images.targets[rows], multi_label=several)
    return SomeImages(images, rows.tolist())


def readable(images: Images, rows: Iterable[int], count: int) -> list[Tensor]:
    """The first images of some rows, for pictures: those that are left out because they cannot be read are passed over.

    Args:
        images: where they come from.
        rows: in the order in which they are wanted.
        count: at most so many.

    Raises:
        UsageError: if none can be read.

    Example:
        >>> len(readable(TensorImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)), [3, 1, 0], 2))
        2
    """
    if isinstance(images, TensorImages):
        found = [images.read(row)[0] for row in islice(rows, count)]
    else:
        read = (pair[0] for pair in Apart(_array_if_readable, images, rows) if pair is not None)
        found = [torch.from_numpy(array) for array in islice(read, count)]
    if not found:
        raise UsageError("none of the images that a picture needs could be read: check that the folder holds images.")
    return found


def dtype_of(images: Images) -> torch.dtype:
    """The type of images, uint8 of those that do not say it."""
    dtype: torch.dtype = getattr(images, "dtype", torch.uint8)
    return dtype


def label_columns(images: Images) -> int | None:
    """Number of classes where an image may show several and labels are rows; None where they are class numbers."""
    columns: int | None = getattr(images, "label_columns", None)
    return columns


def plain_label(label: Label) -> Any:
    """A label in a form that is cheap to send from one process to another."""
    return label.numpy() if isinstance(label, Tensor) else label


def check_images(images: Images, split: str, *, owner: str, form: PixelForm, multi_label: bool = False) -> None:
    """Refuse no images, and those of another form than a DataModule says.

    Args:
        images: of a split.
        split: its name.
        owner: name of the DataModule.
        form: channels and type that its images must have.
        multi_label: whether it declares that an image may show several classes.

    Raises:
        UsageError: says which split.
    """
    if len(images) == 0:
        raise UsageError(f'{owner} has no images in its "{split}" split.')
    if images.in_chans != form.in_chans:
        raise UsageError(f"{owner} has images of {images.in_chans} channels, but in_chans={form.in_chans}.")
    if dtype_of(images) != form.dtype:
        needs = "need no value_range= (uint8 is 0 to 255)" if form.pairs else "need value_range=(low, high)"
        raise UsageError(f"{owner} has images of {dtype_of(images)}, which {needs}.")
    if multi_label != (label_columns(images) is not None) and images.labeled:
        has = "class numbers" if multi_label else f"rows of {label_columns(images)} classes"
        raise UsageError(
            f'{owner} has multi_label={multi_label}, but the labels of its "{split}" images are {has}: one of the two '
            "must be declared otherwise."
        )


def read_array(images: Images, row: int) -> tuple["np.ndarray[Any, Any]", Any]:
    """Image ``(C, H, W)`` and its label, in a form that is cheap to send from one process to another."""
    image, label = images.read(row)
    return image.numpy(), plain_label(label)


def _array_if_readable(images: Images, row: int) -> tuple["np.ndarray[Any, Any]", Any] | None:
    try:
        return read_array(images, row)
    except UnreadableImage:
        return None
