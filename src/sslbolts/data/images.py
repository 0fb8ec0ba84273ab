"""Images as they are stored: a tensor, or anything that gives them one by one."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sslbolts.checks.labels import as_labels
from sslbolts.data.apart import Apart
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.transforms.levels import rows_of

__all__ = [
    "Images",
    "SomeImages",
    "TensorImages",
    "UnreadableImage",
    "check_images",
    "chosen",
    "dtype_of",
    "read_array",
    "readable",
]


class UnreadableImage(Exception):
    """This image cannot be read and is to be left out (it has been counted)."""


class Images(Protocol):
    """Images that are read one by one.

    Attributes:
        in_chans: channels of every image.
        dtype: uint8, which may be left unsaid, or uint16 where a range of values was declared.
    """

    in_chans: int

    @property
    def labeled(self) -> bool:
        """True if any image has a label."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, index: int) -> tuple[Tensor, int]:
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

    Raises:
        UsageError: for labels that are none, or another number of them.

    Example:
        >>> images = TensorImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
        >>> len(images), images.labeled
        (4, False)
    """

    def __init__(self, data: Tensor, targets: Tensor | Sequence[Any] | None = None) -> None:
        self.data = data
        self.targets = torch.full((len(data),), -1) if targets is None else as_labels(targets)
        if len(self.targets) != len(data):
            raise UsageError(f"{len(self.targets):,} labels were given for {len(data):,} images.")
        self.labeled = bool((self.targets >= 0).any())
        self.in_chans = data.shape[1]
        self.dtype = data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> tuple[Tensor, int]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label."""
        return self.data[index], int(self.targets[index])


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
        self.on_bad_image = getattr(images, "on_bad_image", "raise")

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> tuple[Tensor, int]:
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
        return TensorImages(rows_of(images.data, rows), images.targets[rows])
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


def check_images(images: Images, split: str, *, owner: str, form: PixelForm) -> None:
    """Refuse no images, and those of another form than a DataModule says.

    Args:
        images: of a split.
        split: its name.
        owner: name of the DataModule.
        form: channels and type that its images must have.

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


def read_array(images: Images, row: int) -> tuple["np.ndarray[Any, Any]", int]:
    """Image ``(C, H, W)`` and its label, in a form that is cheap to send from one process to another."""
    image, label = images.read(row)
    return image.numpy(), label


def _array_if_readable(images: Images, row: int) -> tuple["np.ndarray[Any, Any]", int] | None:
    try:
        return read_array(images, row)
    except UnreadableImage:
        return None
