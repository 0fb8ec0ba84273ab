"""Images and labels in the items that people's datasets give."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslbolts.checks.labels import as_label
from sslbolts.checks.multi_hot import multi_hot_row
from sslbolts.data.decode import ImageError, as_image
from sslbolts.data.images import Label
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError

__all__ = ["IMAGE_KEYS", "LABEL_KEYS", "ItemReader"]

IMAGE_KEYS = ("image", "img", "jpg", "jpeg", "png", "webp")
LABEL_KEYS = ("label", "labels", "target", "cls", "fine_label")


class ItemReader:
    """Takes an image and its label out of an item: the image, ``(image, label, ...)``, or a mapping with both.

    Args:
        form: channels and range of values that images must have.
        image_key: of a mapping; None is the first of image, img, jpg, jpeg, png, webp.
        label_key: of a mapping; None is the first of label, labels, target, cls, fine_label, if there is one.
        numbers: number of each class, by what stands in the place of a label: names, or numbers with gaps.
        columns: number of classes where an image may show several, and its label is a row of 1 and 0; None where it is
            a class number.

    Example:
        >>> import numpy as np
        >>> read = ItemReader(PixelForm(), numbers={"cat": 0, "emu": 1})
        >>> image, label = read({"image": np.zeros((8, 8, 3), np.uint8), "label": "emu"}, "an item")
        >>> tuple(image.shape), label
        ((3, 8, 8), 1)
    """

    def __init__(
        self,
        form: PixelForm,
        *,
        image_key: str | None = None,
        label_key: str | None = None,
        numbers: Mapping[Any, int] | None = None,
        columns: int | None = None,
    ) -> None:
        self.form = form
        self.image_key = image_key
        self.label_key = label_key
        self.numbers: dict[Any, int] = dict(numbers or {})
        self.columns = columns

    def __call__(self, item: Any, name: str) -> tuple[Tensor, Label]:
        """Image ``(C, H, W)``, uint8 or uint16, and label, -1 for none.

        Args:
            item: of a dataset.
            name: of the item, for messages.

        Raises:
            ImageError: if there is no image, or no label in its place.
        """
        image, label = self.parts(item, name)
        try:
            held = as_image(image, self.form.in_chans) if self.form.pairs is None else self.form.levels_of_item(image)
            return held, self.number(None) if label is None else label
        except UsageError as error:
            raise ImageError(f"{name} is not usable: {error}") from None

    def parts(self, item: Any, name: str) -> tuple[Any, Label | None]:
        """What is in the place of the image, and the label: -1 for none, None where items have no place for one.

        Raises:
            ImageError: if there is no label in its place, or a mapping has no image.
        """
        image, place, given = self.places(item, name)
        try:
            return image, self.number(given) if place else None
        except UsageError as error:
            raise ImageError(f"{name} is not (image, label): {error}") from None

    def places(self, item: Any, name: str) -> tuple[Any, bool, Any]:
        """What is in the place of the image, whether there is one for a label, and what is in that.

        Raises:
            ImageError: if a mapping has no image, or not the label that was named.
        """
        if isinstance(item, Mapping):
            key = self.image_key or next((key for key in IMAGE_KEYS if key in item), None)
            if key is None or key not in item:
                said = f'no "{self.image_key}"' if self.image_key else f"none of {', '.join(IMAGE_KEYS)}"
                raise ImageError(f"{name} has {', '.join(map(str, item))}, and {said}: give image_key=.")
            label_key = self.label_key or next((key for key in LABEL_KEYS if key in item), None)
            if label_key is None:
                return item[key], False, None
            if label_key not in item:
                raise ImageError(
                    f'{name} has {", ".join(map(str, item))}, and no "{label_key}": give another label_key=.'
                )
            return item[key], True, item[label_key]
        if isinstance(item, tuple | list) and len(item) > 0:
            return item[0], len(item) > 1, item[1] if len(item) > 1 else None
        return item, False, None

    def number(self, label: Any) -> Label:
        """The class number that a label means, -1 for none; or its row of several classes.

        Raises:
            UsageError: if it means no class, or one that is not known.
        """
        if self.columns is not None:
            return multi_hot_row(label, self.columns)
        if isinstance(label, str) and label in self.numbers:
            return self.numbers[label]
        found = as_label(label)
        if found < 0 or not self.numbers or isinstance(next(iter(self.numbers)), str):
            return found
        if found not in self.numbers:
            raise UsageError(
                f"{found} is none of the {len(self.numbers):,} labels that the labeled training images have."
            )
        return self.numbers[found]
