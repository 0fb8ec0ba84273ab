"""CIFAR-10 and CIFAR-100, and the CIFAR-10 images that come with the package."""

from functools import cache
from importlib.resources import files
from typing import Unpack

import torch

from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.decode import decode
from sslbolts.data.images import Images, TensorImages
from sslbolts.data.torchvision_sets import fetch

__all__ = ["CIFAR10DataModule", "CIFAR10MiniDataModule", "CIFAR100DataModule"]

_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
    "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
    "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
    "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
    "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)


class CIFAR10MiniDataModule(SSLDataModule):
    """Real images that come with the package: 5,000 training and 1,000 test images of CIFAR-10, class-balanced.

    They are the first images of each class, stored as JPEG at quality 75, so numbers on them are not numbers on
    CIFAR-10. Bank: the training images. Val and test: the test images.

    Source:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Example:
        >>> data = CIFAR10MiniDataModule(batch_size=64, num_workers=0)
        >>> batch = next(iter(data.train_dataloader()))
        >>> len(batch.views), tuple(batch.views[0].shape), data.num_classes
        (2, (64, 3, 32, 32), 10)
    """

    native_size = 32
    pixel_mean = (0.4911, 0.4808, 0.4444)
    pixel_std = (0.2463, 0.2444, 0.2622)
    class_names = _CIFAR10_CLASSES

    def load(self, split: Split) -> TensorImages:
        """Training images for "train" and "bank", else test images."""
        return _packaged("train" if split in ("train", "bank") else "test")


class CIFAR10DataModule(SSLDataModule):
    """CIFAR-10: 50,000 training and 10,000 test images of 10 classes, 32 pixels.

    Bank: the training images. Val and test: the test images, on which the field reports its online numbers.

    Args:
        root: folder that holds the data set, as torchvision lays it out.
        download: fetch it if it is not there.
        **common: :class:`~sslbolts.data.arguments.DataArguments`.

    Raises:
        UsageError: if the data set is not there and cannot be fetched.

    Source:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    native_size = 32
    pixel_mean = (0.4914, 0.4822, 0.4465)
    pixel_std = (0.2470, 0.2435, 0.2616)
    class_names: tuple[str, ...] | None = _CIFAR10_CLASSES
    _torchvision_name = "CIFAR10"

    def __init__(self, root: str = "data", *, download: bool = True, **common: Unpack[DataArguments]) -> None:
        super().__init__(**common)
        self.root = root
        self.download = download

    def prepare_data(self) -> None:
        """Fetches the data set if it is not there and ``download`` is on."""
        fetch(self._torchvision_name, self.root, download=self.download, train=True)

    def load(self, split: Split) -> Images | None:
        """Training images for "train" and "bank", else test images."""
        if split in ("bank", "test"):
            return self._loaded("train" if split == "bank" else "val")
        images = fetch(self._torchvision_name, self.root, download=False, train=split == "train")
        pixels = torch.from_numpy(images.data).permute(0, 3, 1, 2).contiguous()  # (N, 32, 32, 3) -> (N, 3, 32, 32)
        return TensorImages(pixels, torch.tensor(images.targets))


class CIFAR100DataModule(CIFAR10DataModule):
    """CIFAR-100: 50,000 training and 10,000 test images of 100 classes, 32 pixels.

    Bank: the training images. Val and test: the test images.

    Args:
        root: folder that holds the data set, as torchvision lays it out.
        download: fetch it if it is not there.
        **common: :class:`~sslbolts.data.arguments.DataArguments`.

    Raises:
        UsageError: if the data set is not there and cannot be fetched.

    Source:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    pixel_mean = (0.5071, 0.4865, 0.4409)
    pixel_std = (0.2673, 0.2564, 0.2762)
    class_names = tuple(_CIFAR100_CLASSES.split())
    _torchvision_name = "CIFAR100"


@cache  # several DataModules of one process share the images; nothing writes to them
def _packaged(split: str) -> TensorImages:
    import numpy as np

    with (files("sslbolts.data") / "cifar10_mini.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        header, scans = stored["header"].tobytes(), stored[f"{split}_scans"].tobytes()
        ends, labels = stored[f"{split}_ends"].tolist(), stored[f"{split}_labels"]
    # All files have one header (benchmarks/make_cifar10_mini.py); together they are the JPEG files they were.
    pixels = torch.empty(len(ends), 3, 32, 32, dtype=torch.uint8)
    for image, start, end in zip(pixels, [0, *ends], ends):
        image.copy_(decode(header + scans[start:end]))
    return TensorImages(pixels, torch.from_numpy(labels))
