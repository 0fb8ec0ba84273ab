"""Validation images for data that holds none out: a part of the training images, drawn with a seed."""

import torch

from sslbolts.data import SSLDataModule
from sslbolts.data.images import Images, chosen
from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator

__all__ = ["with_queries"]

_SHARE = 0.2  # of the training images
_FEWEST = 8
_DRAWN = 200  # what a seed is for


def with_queries(data: SSLDataModule, *, seed: int) -> tuple[SSLDataModule, list[str]]:
    """The data, with images to ask about, and a sentence on where these come from if it has none of its own.

    Images that are drawn are taken out of the training images and of the bank: what learns from these has not seen
    them. The network has.

    Args:
        data: any DataModule of sslbolts.
        seed: of the draw.

    Raises:
        UsageError: if there are too few images.

    Example:
        >>> from sslbolts.data import DatasetDataModule
        >>> pixels = torch.utils.data.TensorDataset(torch.zeros(20, 3, 8, 8, dtype=torch.uint8))
        >>> data, notes = with_queries(DatasetDataModule(pixels, image_size=8), seed=0)
        >>> len(data.images("train")), len(data.images("val")), len(notes)
        (16, 4, 1)
    """
    if data.has_images("val"):
        return data, []
    images = data.images("train")
    if len(images) < _FEWEST:
        raise UsageError(
            f"{type(data).__name__} has {len(images)} images and none of them held out: a diagnosis takes {_FEWEST}."
        )
    order = torch.randperm(len(images), generator=generator(seed, _DRAWN))
    count = round(_SHARE * len(images))
    parts: dict[str, Images] = {
        "val": chosen(images, order[:count].sort().values),
        "train": chosen(images, order[count:].sort().values),
    }
    if data.has_images("bank") and data.images("bank") is images:
        parts["bank"] = parts["train"]
    hint = " (val_fraction holds a part out)" if hasattr(data, "val_fraction") else ""
    note = (
        f"no images are held out: {count:,} of the {len(images):,} training images, drawn with the seed, are asked "
        f"about, and classifiers learn from the others. The network has trained on all{hint}."
    )
    return data.with_images(**parts), [note]
