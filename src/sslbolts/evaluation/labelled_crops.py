"""A DataModule's labelled images as supervised training wants them: one random crop of each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslbolts.data import SSLDataModule
from sslbolts.data.images import Images, TensorImages
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import normalization
from sslbolts.transforms import MultiView, View

__all__ = ["SomeImages", "decisive_split", "few_steps", "labelled_crops"]

_MANY_BATCHES = 16
_FEW_STEPS = 10


class SomeImages:
    """Some of the images that are read one by one.

    Args:
        images: all of them.
        rows: which, by their positions.
    """

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self.images = images
        self.rows = list(rows)
        self.labelled = images.labelled
        self.in_chans = images.in_chans

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> tuple[Tensor, int]:
        """Image ``(C, H, W)`` uint8 and its label."""
        return self.images.read(self.rows[index])


def labelled_crops(
    data: Any,
    encoder: Encoder,
    *,
    view: View | None = None,
    rows: Tensor | None = None,
    held_out: Tensor | None = None,
    batch_size: int | None = None,
) -> SSLDataModule:
    """A copy of a DataModule whose training batches have one view of each labelled image, normalized for a network.

    Its test images are those of the DataModule, or else its validation images, under evaluation transforms.

    Args:
        data: a DataModule of sslbolts; it is not changed.
        encoder: the network, whose mean and deviation are used where they are known, else the data's.
        view: how a training image is augmented; None is a random resized crop (8 to 100 % of the area, bicubic),
            flipped with probability 1/2.
        rows: positions of the training images to keep, as in :func:`~sslbolts.evaluation.splits.training_targets`; None
            is all, or those with a label where the DataModule was given ``labels_per_class``.
        held_out: positions of training images for validation instead; None leaves validation as it is.
        batch_size: images per step that training will have, of all devices; None is the DataModule's.

    Raises:
        UsageError: for another DataModule, or one without labels.
    """
    if not isinstance(data, SSLDataModule):
        raise UsageError(
            f"a {type(data).__name__} was given as data: this protocol crops and normalizes images itself, and needs a "
            "DataModule of sslbolts.data, e.g. DatasetDataModule(your_dataset)."
        )
    data.prepare_data()
    data.setup()
    images = data.load("bank")
    if images is None or not images.labelled:
        raise UsageError(f"{type(data).__name__} has no labelled training images, and this protocol needs them.")
    mean, std = normalization(encoder, data)
    view = view or View(data.image_size, interpolation="bicubic")
    made = data.with_views(MultiView((view,), normalize=mean is not None), mean=mean, std=std)
    made._images = {}
    if rows is None and data.labels_per_class is not None:
        kept = data._kept_labels(images)
        rows = None if kept is None else (kept >= 0).nonzero().squeeze(1)
    made.labels_per_class = None
    made._images["train"] = _some(images, rows)
    # Of a few images all are used: the last batch is smaller then.
    made.drop_last = data.drop_last and len(made._split("train")) >= _MANY_BATCHES * (batch_size or data.batch_size)
    made._images["test"] = data._loaded(decisive_split(data))
    if held_out is not None:
        made._images["val"] = _some(images, held_out)
    return made


def few_steps(images: int, batch_size: int) -> list[str]:
    """What to tell where batches leave an epoch hardly a step; nothing else.

    Args:
        images: that are trained on.
        batch_size: images per step.

    Example:
        >>> few_steps(4500, 256)
        []
    """
    steps = -(-images // batch_size)
    if steps >= _FEW_STEPS:
        return []
    return [
        f"{steps} step{'s' if steps > 1 else ''} per epoch only, of {batch_size:,} images each: the settings are for "
        f"more images than these {images:,}, and a smaller batch_size may serve them better."
    ]


def decisive_split(data: SSLDataModule) -> str:
    """The split that a protocol's number is from: "test" where there are such images, else "val".

    Raises:
        UsageError: if there is neither.
    """
    for split in ("test", "val"):
        images = data._loaded(split)
        if images is not None and images.labelled:
            return split
    raise UsageError(f"{type(data).__name__} has no labelled images to measure on, neither for testing nor validation.")


def _some(images: Images, rows: Tensor | None) -> Images:
    if rows is None:
        return images
    if isinstance(images, TensorImages):
        return TensorImages(images.data[rows], images.targets[rows])
    return SomeImages(images, torch.as_tensor(rows).tolist())
