"""Any map-style dataset."""

from collections.abc import Sized
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslbolts.checks.labels import as_label, as_labels
from sslbolts.data.apart import Apart
from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.decode import ImageError, as_image
from sslbolts.data.images import Images, TensorImages, read_array
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar

__all__ = ["DatasetDataModule", "DatasetImages"]

if TYPE_CHECKING:
    AnyDataset = Dataset[Any]
else:  # of a generic type, jsonargparse makes that type itself, and not the class of a configuration
    AnyDataset = Dataset

_SMALL = 96  # pixels: the size of images up to this side is taken from the first image


class DatasetDataModule(SSLDataModule):
    """Any map-style dataset of yours.

    Items are an image, or ``(image, label, ...)``. An image is a PIL image, a ``(C, H, W)`` tensor (uint8, or float in
    [0, 1]) or a ``(H, W, C)`` numpy array of uint8; with a ``value_range``, numbers of any type in these shapes. No
    random transform should have touched it. A label is the number
    of a class, of any type or as the only number of an array, or a vector with a single 1; None or a negative number
    is none, and anything else is refused.

    Only a loader without workers reads in this process, so worker processes do not share a file that the dataset opens
    when its first item is read.

    Args:
        train: what to train on; its labels, if any, are not used for that.
        val: queries; None is none.
        test: images for the final number; None is ``val``.
        bank: labeled images that queries are compared with; None is ``train``.
        num_classes: number of classes; None takes ``class_names``, or the dataset's ``classes``.
        in_memory: read every image once at the start and keep all as one tensor, which is much faster for small
            images; they must be of one size.
        **common: :class:`~sslbolts.data.arguments.DataArguments`. ``image_size=None`` is the size of the first image
            where that is square and at most 96 pixels, else 224.

    Raises:
        UsageError: for a dataset without length, or an item that is no image or has no label in its place.

    Example:
        >>> images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
        >>> dataset = torch.utils.data.TensorDataset(images, torch.arange(16) % 4)
        >>> data = DatasetDataModule(dataset, num_classes=4, batch_size=8, num_workers=0)
        >>> batch = next(iter(data.train_dataloader()))
        >>> tuple(batch.views[1].shape), tuple(batch.targets.shape)
        ((8, 3, 32, 32), (8,))
    """

    def __init__(
        self,
        train: AnyDataset,
        *,
        val: AnyDataset | None = None,
        test: AnyDataset | None = None,
        bank: AnyDataset | None = None,
        num_classes: int | None = None,
        in_memory: bool = False,
        **common: Unpack[DataArguments],
    ) -> None:
        self._datasets = {
            "train": train,
            "val": val,
            "test": val if test is None else test,
            "bank": train if bank is None else bank,
        }
        for name, dataset in self._datasets.items():
            if dataset is not None and not (hasattr(dataset, "__getitem__") and isinstance(dataset, Sized)):
                raise UsageError(
                    f"{name}={type(dataset).__name__} must be a map-style dataset, with __len__ and __getitem__."
                )
        unsized = common.get("image_size") is None and isinstance(common.get("views", ""), str)
        if unsized and len(cast(Sized, train)) > 0:
            form = PixelForm(common.get("in_chans", 3), common.get("value_range"))
            ((height, width),) = Apart(_size, DatasetImages(train, form, "train"), [0])
            if height == width <= _SMALL:
                self.native_size = height
        super().__init__(**common)
        self._declared_classes = num_classes
        self.in_memory = in_memory
        names = getattr(self._datasets["bank"], "classes", None) or getattr(val, "classes", None)
        self.class_names = None if names is None else tuple(str(name) for name in names)

    @property
    def num_classes(self) -> int:
        """Number of classes, as given or as many as the dataset's ``classes``.

        Raises:
            UsageError: if neither says.
        """
        return super().num_classes if self._declared_classes is None else self._declared_classes

    def load(self, split: Split) -> Images | None:
        """The dataset that was given for the split."""
        dataset = self._datasets[split]
        if dataset is None:
            return None
        images = DatasetImages(dataset, self.form, split)
        return _in_memory(images) if self.in_memory else images

    def _labels_hint(self) -> str:
        return "give num_classes=, and datasets whose items are (image, label), or switch off what needs labels."


class DatasetImages:
    """The images of somebody's dataset.

    Args:
        dataset: map-style.
        form: channels and range of values that its images must have.
        name: how messages call it.
    """

    def __init__(self, dataset: Dataset[Any], form: PixelForm, name: str) -> None:
        self.dataset = dataset
        self.form = form
        self.in_chans = form.in_chans
        self.dtype = form.dtype
        self.name = name

    @cached_property
    def labeled(self) -> bool:
        """True if any image has a label; found out when it is first asked for.

        ``targets`` or ``labels`` of the dataset say it at once. Otherwise items are read until one has a label, unless
        the first shows that there is no place for one.

        Raises:
            UsageError: for what is in the place of a label, and is none.
        """
        for name in ("targets", "labels"):
            listed: Any = getattr(self.dataset, name, None)
            if isinstance(listed, list | tuple | np.ndarray | Tensor) and len(listed) == len(self):
                try:
                    return bool((as_labels(listed) >= 0).any())
                except UsageError:  # such as names, whose numbers are in the items
                    continue
        rows = Apart(_label, self, range(len(self)))
        labels = iter(late_bar(rows, f"Looking for a label in the {self.name} dataset"))
        first = next(labels, None)
        return first is not None and (first >= 0 or any(label is not None and label >= 0 for label in labels))

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def read(self, index: int) -> tuple[Tensor, int]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label, -1 where it has none.

        Raises:
            ImageError: if the item is no image, or there is no label in its place.
        """
        image, label = self.item(index)
        try:
            held = as_image(image, self.in_chans) if self.form.pairs is None else self.form.levels_of_item(image)
            return held, -1 if label is None else label
        except UsageError as error:
            raise ImageError(f"item {index} of the {self.name} dataset is not usable: {error}") from None

    def item(self, index: int) -> tuple[Any, int | None]:
        """What is in the place of the image, and the label: -1 for none, None where items have no place for one.

        Raises:
            ImageError: if there is no label in its place.
        """
        item = self.dataset[index]
        if not isinstance(item, tuple | list):
            return item, None
        try:
            return item[0], as_label(item[1]) if len(item) > 1 else None
        except UsageError as error:
            raise ImageError(f"item {index} of the {self.name} dataset is not (image, label): {error}") from None


def _size(images: DatasetImages, row: int) -> tuple[int, int]:
    height, width = images.read(row)[0].shape[1:]
    return height, width


def _label(images: DatasetImages, row: int) -> int | None:
    return images.item(row)[1]


def _in_memory(images: DatasetImages) -> TensorImages:
    data = torch.empty(0)
    targets = torch.empty(len(images), dtype=torch.int64)
    read = Apart(read_array, images, range(len(images)), at_a_time=16)
    bar = late_bar(read, f"Reading the {images.name} dataset into memory")
    for index, (array, targets[index]) in enumerate(bar):
        image = torch.from_numpy(array)
        if index == 0:
            data = image.new_empty(len(images), *image.shape)
        if image.shape != data.shape[1:]:
            raise ImageError(
                f"item {index} of the {images.name} dataset is of size {tuple(image.shape)}, the first of "
                f"{tuple(data.shape[1:])}: images of several sizes cannot be held as one tensor, leave in_memory out."
            )
        data[index] = image
    return TensorImages(data, targets)
