"""Datasets and batches for evaluation: every image once, in order, nothing random."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from sslbolts.batch import ViewBatch
from sslbolts.data.apart import Apart
from sslbolts.data.decode import ImageError
from sslbolts.data.images import Images, Label, TensorImages, UnreadableImage, dtype_of, label_columns, readable
from sslbolts.transforms import BatchedEvaluate, Evaluation, center_crop
from sslbolts.transforms.batched import resize_and_center
from sslbolts.transforms.levels import LEVELS, rows_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EvaluationBatch", "EvaluationImages", "collate", "normalized", "untouched"]

EvaluationBatch = tuple[Tensor, Tensor, Tensor]
"""Images ``(B, C, S, S)``, targets ``(B,)`` (of several classes ``(B, K)``), indices ``(B,)``."""


class EvaluationImages(Dataset[tuple[Tensor, Label, int] | None]):
    """Images as evaluation sees them: shorter side resized, center cut out, still in levels (the device normalizes
    them).

    ``dataset[i]`` is ``(image, label, i)``, or None for an image that cannot be read and is to be left out.

    Args:
        images: where they come from.
        evaluation: what is cut out.
    """

    def __init__(self, images: Images, evaluation: Evaluation) -> None:
        self.images = images
        self.evaluation = evaluation

    def __len__(self) -> int:
        return len(self.images)

    @property
    def leaves_out(self) -> bool:
        """True if a batch may lack images that it was to have, because they cannot be read."""
        return getattr(self.images, "on_bad_image", "raise") == "skip"

    def __getitem__(self, index: int) -> tuple[Tensor, Label, int] | None:
        try:
            image, target = self.images.read(index)
        except UnreadableImage:
            return None
        return center_crop(image, self.evaluation), target, index

    def __getitems__(self, indices: Sequence[int]) -> "EvaluationBatch | list[tuple[Tensor, Label, int] | None]":
        """The rows of a batch, as a DataLoader asks for them; of images in memory the batch itself, resized in one go.

        A batch without a readable image is empty, and not left out: a rank has as many batches as were planned.

        Raises:
            ImageError: if no image of all can be read.
        """
        if isinstance(self.images, TensorImages):
            rows = torch.as_tensor(indices)
            return self._cut(rows_of(self.images.data, rows)), self.images.targets[rows], rows
        found = [self[index] for index in indices]
        return found if any(item is not None for item in found) else self._empty()

    def stored(self, rows: Iterable[int], count: int) -> list[Tensor]:
        """Images as they are stored, of any size, see :func:`~sslbolts.data.images.readable`."""
        return readable(self.images, rows, count)

    def cut(self, rows: Iterable[int]) -> list[Tensor]:
        """Images ``(C, S, S)`` of these rows, of those that can be read."""
        found = Apart(_cut, self, rows, at_a_time=8)
        return [torch.from_numpy(image) for image in found if image is not None]

    def _empty(self) -> EvaluationBatch:
        if len(getattr(self.images, "bad_images", ())) == len(self):
            raise ImageError(f"none of {len(self):,} images could be read: check that the folder holds images.")
        size, none = self.evaluation.size, torch.empty(0, dtype=torch.int64)
        columns = label_columns(self.images)
        labels = none if columns is None else torch.empty(0, columns)
        return torch.empty(0, self.images.in_chans, size, size, dtype=dtype_of(self.images)), labels, none

    def _cut(self, images: Tensor) -> Tensor:
        if images.shape[2:] == (self.evaluation.resize,) * 2 and self.evaluation.resize == self.evaluation.size:
            return images
        # The order of an image read one by one, in which resizing is fastest.
        pixels = images.contiguous(memory_format=torch.channels_last)
        return resize_and_center(pixels, self.evaluation).contiguous()


def _cut(images: EvaluationImages, row: int) -> "np.ndarray[Any, Any] | None":
    item = images[row]
    return None if item is None else item[0].numpy()


def collate(rows: "EvaluationBatch | list[tuple[Tensor, Label, int] | None]") -> EvaluationBatch:
    """A batch ``(images, targets, indices)`` of rows; of those that could be read.

    Args:
        rows: items of :class:`EvaluationImages`, or a batch that it made itself.

    Raises:
        ImageError: if none could be read.
    """
    if isinstance(rows, tuple):
        return rows
    readable = [row for row in rows if row is not None]
    if not readable:
        raise ImageError("none of the images of an evaluation batch could be read: check that the folder holds images.")
    images, targets, indices = default_collate(readable)
    return images, targets, indices


def untouched(size: int) -> Evaluation:
    """Evaluation of images that :class:`EvaluationImages` has cut to their size already."""
    return Evaluation(resize=size, size=size)


def normalized(batch: Any, size: int, *, mean: Sequence[float] | None, std: Sequence[float] | None) -> Any:
    """An evaluation batch with its images normalized, if they are still in levels; any other batch as it is."""
    is_evaluation = isinstance(batch, tuple | list) and not isinstance(batch, ViewBatch) and len(batch) > 0
    if not is_evaluation or not isinstance(batch[0], Tensor) or batch[0].dtype not in LEVELS:
        return batch
    return (BatchedEvaluate(untouched(size), mean=mean, std=std)(batch[0]), *batch[1:])
