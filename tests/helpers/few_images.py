"""Fewer or smaller packaged images, for tests of what is done with them."""

from functools import cache

import pytest
import torch
from torch.nn import functional as F

from sslbolts.data import CIFAR10MiniDataModule, TensorImages, cifar
from sslbolts.data.base import Split


def use_few_images(patch: pytest.MonkeyPatch, *, train: int, test: int = 1000) -> None:
    """Cuts the packaged images down to so many, the same number of every class."""
    packaged, sizes = cifar._packaged, {"train": train, "test": test}

    @cache
    def few(split: str) -> TensorImages:
        images = packaged(split)
        rows = slice(None, None, len(images) // sizes[split])
        return TensorImages(images.data[rows], images.targets[rows])

    patch.setattr(cifar, "_packaged", few)


class ManyQueries(CIFAR10MiniDataModule):
    """The 5,000 training images as queries and the 1,000 others as bank: kNN accuracy of 5,000 has half the error."""

    def load(self, split: Split) -> TensorImages:
        return super().load("val" if split == "bank" else "train")


class HalvedImages(ManyQueries):
    """The same in 16 pixels: a quarter of the time, and nearly as much to learn."""

    native_size = 16

    def load(self, split: Split) -> TensorImages:
        images = super().load(split)
        return TensorImages(F.avg_pool2d(images.data.float(), 2).round().to(torch.uint8), images.targets)
