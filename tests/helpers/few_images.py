"""Fewer of the packaged images, where a test looks at what is done with them and not at what is learned from them."""

from functools import cache

import pytest

from sslbolts.data import TensorImages, cifar


def use_few_images(patch: pytest.MonkeyPatch, *, train: int, test: int = 1000) -> None:
    """Cuts the packaged images down to so many, the same number of every class."""
    packaged, sizes = cifar._packaged, {"train": train, "test": test}

    @cache
    def few(split: str) -> TensorImages:
        images = packaged(split)
        rows = slice(None, None, len(images) // sizes[split])
        return TensorImages(images.data[rows], images.targets[rows])

    patch.setattr(cifar, "_packaged", few)
