"""Any map-style dataset."""

from collections.abc import Sized
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslbolts._lightning import rank_zero_info
from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot, has_label, is_one_hot, multi_hot_row
from sslbolts.data.apart import Apart
from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.decode import ImageError
from sslbolts.data.images import Images, Label, TensorImages, plain_label, read_array
from sslbolts.data.items import ItemReader
from sslbolts.data.listed_labels import classes_of, columns_of, listed_labels
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar

__all__ = ["AnyDataset", "DatasetDataModule", "DatasetImages", "check_map_style"]

if TYPE_CHECKING:
    AnyDataset = Dataset[Any]
else:  # of a generic type, jsonargparse makes that type itself, and not the class of a configuration
    AnyDataset = Dataset

_SMALL = 96  # pixels: the size of images up to this side is taken from the first image


class DatasetDataModule(SSLDataModule):
    """Any map-style dataset of yours.

    Items are an image, ``(image, label, ...)``, or a mapping with both, as of Hugging Face's datasets. An image is a
    PIL image, a ``(C, H, W)`` tensor (uint8, or float in [0, 1]) or a ``(H, W, C)`` numpy array of uint8; with a
    ``value_range``, numbers of any type in these shapes. No random transform should have touched it. A label is the
    number of a class, of any type or as the only number of an array, a vector with a single 1, or one of the names of
    the classes; None or a negative number is none, and anything else is refused. Several classes of one image are
    declared, by ``multi_label=True``: a label is then a row of one number per class, 1 where the image shows it, 0
    where not, -1 or NaN where nobody knows, in any type. Streams are for :class:`~sslbolts.data.StreamDataModule`.

    Where the dataset lists its labels (as ``targets``, ``labels``, or a column of Hugging Face), names become numbers
    in their sorted order, and numbers with gaps, such as 7 and 100,000, become 0 and 1; ``class_names`` keeps them.

    Only a loader without workers reads in this process, so worker processes do not share a file that the dataset opens
    when its first item is read.

    Args:
        train: what to train on; its labels, if any, are not used for that.
        val: queries; None is none.
        test: images for the final number; None is ``val``.
        bank: labeled images that queries are compared with; None is ``train``.
        num_classes: number of classes; None takes ``class_names``, or the dataset's ``classes``.
        image_key: of items that are mappings; None is the first of image, img, jpg, jpeg, png, webp.
        label_key: likewise; None is the first of label, labels, target, cls, fine_label, if there is one.
        multi_label: an image may show several classes: labels are rows. The number of classes is ``num_classes``, or
            that of the dataset's ``classes``, of the rows that it lists, or of the first item's.
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
        image_key: str | None = None,
        label_key: str | None = None,
        multi_label: bool = False,
        in_memory: bool = False,
        **common: Unpack[DataArguments],
    ) -> None:
        self.multi_label = multi_label
        self._datasets = {
            "train": train,
            "val": val,
            "test": val if test is None else test,
            "bank": train if bank is None else bank,
        }
        for name, dataset in self._datasets.items():
            check_map_style(name, dataset)
        form = PixelForm(common.get("in_chans", 3), common.get("value_range"))
        labeled = cast(Dataset[Any], self._datasets["bank"])
        names: tuple[str, ...] | None = None
        numbers: dict[Any, int] = {}
        columns: int | None = None
        if multi_label:
            columns = num_classes or columns_of(labeled, label_key)
            columns = columns or _first_columns(labeled, ItemReader(form, image_key=image_key, label_key=label_key))
            given = getattr(labeled, "classes", None) or getattr(val, "classes", None)
            names = tuple(map(str, given)) if given and len(given) == columns else None
        else:
            names, numbers = classes_of(labeled, label_key, num_classes)
            if names is None and val is not None:
                names = classes_of(val, label_key, num_classes)[0] if not numbers else None
        self.reader = ItemReader(form, image_key=image_key, label_key=label_key, numbers=numbers, columns=columns)
        unsized = common.get("image_size") is None and isinstance(common.get("views", ""), str)
        if unsized and len(cast(Sized, train)) > 0:
            ((height, width),) = Apart(_size, DatasetImages(train, self.reader, "train"), [0])
            if height == width <= _SMALL:
                self.native_size = height
        super().__init__(**common)
        self._declared_classes = num_classes
        self.in_memory = in_memory
        self.class_names = names

    @property
    def num_classes(self) -> int:
        """Number of classes, as given or as many as the dataset's ``classes``; or the length of rows.

        Raises:
            UsageError: if nothing says it.
        """
        declared = self._declared_classes or self.reader.columns
        return super().num_classes if declared is None else declared

    def load(self, split: Split) -> Images | None:
        """The dataset that was given for the split."""
        dataset = self._datasets[split]
        if dataset is None:
            return None
        images = DatasetImages(dataset, self.reader, split)
        return _in_memory(images) if self.in_memory else images

    def _labels_hint(self) -> str:
        return "give num_classes=, and datasets whose items are (image, label), or switch off what needs labels."


class DatasetImages:
    """The images of somebody's dataset.

    Args:
        dataset: map-style.
        reader: of its items.
        name: how messages call it.
    """

    def __init__(self, dataset: Dataset[Any], reader: ItemReader, name: str) -> None:
        self.dataset = dataset
        self.reader = reader
        self.in_chans = reader.form.in_chans
        self.dtype = reader.form.dtype
        self.label_columns = reader.columns
        self.name = name

    @cached_property
    def labeled(self) -> bool:
        """True if any image has a label; found out when it is first asked for.

        Labels that the dataset lists say it at once. Otherwise items are read until one has a label, unless the first
        shows that there is no place for one.

        Raises:
            UsageError: for what is in the place of a label, and is none.
        """
        for listed in listed_labels(self.dataset, self.reader.label_key):
            try:
                found = as_labels(listed) if self.label_columns is None else as_multi_hot(listed)
            except UsageError:  # such as names, whose numbers are in the items
                continue
            self._say_form(listed)
            return bool(has_label(found).any())
        rows = Apart(_label, self, range(len(self)))
        labels = iter(late_bar(rows, f"Looking for a label in the {self.name} dataset"))
        first = next(labels, None)
        if first is not None:
            self._say_form(*Apart(_given_label, self, [0]))
        return first is not None and (
            _is_known(first) or any(label is not None and _is_known(label) for label in labels)
        )

    def _say_form(self, labels: Any) -> None:
        """What was decided of rows with a single 1, which could be either."""
        try:
            rows = torch.as_tensor(labels)
            rows = rows[None] if rows.ndim == 1 else rows
        except (TypeError, ValueError, RuntimeError):
            return
        if not is_one_hot(rows):
            return
        read = (
            "read as class numbers; of images that may show several classes, give multi_label=True"
            if self.label_columns is None
            else "read as rows of several classes, as multi_label=True says; without it they would be class numbers"
        )
        rank_zero_info(
            f"labels of the {self.name} dataset are rows of {rows.shape[1]} numbers with a single 1 (those that were "
            f"looked at): {read}."
        )

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label, -1 where it has none.

        Raises:
            ImageError: if the item is no image, or there is no label in its place.
        """
        return self.reader(self.dataset[index], f"item {index} of the {self.name} dataset")

    def label(self, index: int) -> Label | None:
        """The label of an image: -1 for none, None where items have no place for one.

        Raises:
            ImageError: if there is no label in its place.
        """
        return self.reader.parts(self.dataset[index], f"item {index} of the {self.name} dataset")[1]


def check_map_style(name: str, dataset: Any) -> None:
    """Refuses a dataset without rows; None is none.

    Raises:
        UsageError: that names the argument.
    """
    if dataset is not None and not (hasattr(dataset, "__getitem__") and isinstance(dataset, Sized)):
        stream = " StreamDataModule takes a stream to train on." if hasattr(dataset, "__iter__") else ""
        raise UsageError(
            f"{name}={type(dataset).__name__} must be a map-style dataset, with __len__ and __getitem__.{stream}"
        )


def _size(images: DatasetImages, row: int) -> tuple[int, int]:
    height, width = images.read(row)[0].shape[1:]
    return height, width


def _label(images: DatasetImages, row: int) -> Any:
    label = images.label(row)
    return None if label is None else plain_label(label)


def _given_label(images: DatasetImages, row: int) -> Any:
    """As it is; None for what no tensor can be made of."""
    given = images.reader.places(images.dataset[row], "the first item")[2]
    return given.tolist() if isinstance(given, Tensor | np.ndarray) else given


def _is_known(label: Any) -> bool:
    return bool(np.any(np.asarray(label) >= 0))


def _first_columns(dataset: Dataset[Any], reader: ItemReader) -> int:
    """Length of the first item's row of labels.

    Raises:
        UsageError: if it is no row of several classes.
    """
    images = DatasetImages(dataset, reader, "first")
    first = next(iter(Apart(_given_label, images, [0])), None) if len(images) else None
    if first is None:
        raise UsageError("multi_label=True, and nothing says how many classes there are: give num_classes=.")
    return len(multi_hot_row(first))


def _in_memory(images: DatasetImages) -> TensorImages:
    data = torch.empty(0)
    columns = images.label_columns
    targets = torch.empty(len(images), dtype=torch.int64) if columns is None else torch.empty(len(images), columns)
    read = Apart(read_array, images, range(len(images)), at_a_time=16)
    bar = late_bar(read, f"Reading the {images.name} dataset into memory")
    for index, (array, label) in enumerate(bar):
        targets[index] = torch.as_tensor(label)
        image = torch.from_numpy(array)
        if index == 0:
            data = image.new_empty(len(images), *image.shape)
        if image.shape != data.shape[1:]:
            raise ImageError(
                f"item {index} of the {images.name} dataset is of size {tuple(image.shape)}, the first of "
                f"{tuple(data.shape[1:])}: images of several sizes cannot be held as one tensor, leave in_memory out."
            )
        data[index] = image
    return TensorImages(data, targets, multi_label=columns is not None)
