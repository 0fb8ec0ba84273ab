"""STL-10, made for learning without labels."""

from typing import Unpack

import torch

from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.images import Images, TensorImages
from sslbolts.data.torchvision_sets import fetch

__all__ = ["STL10DataModule"]

_SPLITS = {"train": "train+unlabeled", "val": "test", "test": "test", "bank": "train"}


class STL10DataModule(SSLDataModule):
    """STL-10: 105,000 training images, of which 5,000 have one of 10 labels, and 8,000 test images; 96 pixels.

    Train: the labeled and the unlabeled images, label -1 where there is none. Bank: the labeled ones. Val and test:
    the test images.

    Args:
        root: folder that holds the data set, as torchvision lays it out.
        download: fetch it (2.6 GB) if it is not there.
        **common: :class:`~sslbolts.data.arguments.DataArguments`.

    Raises:
        UsageError: if the data set is not there and cannot be fetched.

    Source:
        Coates, Lee, Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011.
    """

    native_size = 96
    pixel_mean = (0.4409, 0.4279, 0.3868)  # of the labeled and unlabeled training images
    pixel_std = (0.2683, 0.2610, 0.2687)
    class_names = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

    def __init__(self, root: str = "data", *, download: bool = True, **common: Unpack[DataArguments]) -> None:
        super().__init__(**common)
        self.root = root
        self.download = download

    def prepare_data(self) -> None:
        """Fetches the data set if it is not there and ``download`` is on."""
        fetch("STL10", self.root, download=self.download, split="test")

    def load(self, split: Split) -> Images | None:
        """Images of torchvision's "train+unlabeled", "train" or "test"."""
        if split == "test":
            return self._loaded("val")
        images = fetch("STL10", self.root, download=False, split=_SPLITS[split])
        return TensorImages(torch.from_numpy(images.data), torch.from_numpy(images.labels))
