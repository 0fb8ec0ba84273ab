"""Wrong uses of images of other channels and other numbers than 8-bit RGB, and of views of one's own."""

from pathlib import Path
from typing import Any

from sslbolts.data import CIFAR10MiniDataModule, ImageFolderDataModule
from tests.cli.wrong import DATA, MODEL, SIMCLR, TRAINER, Wrong

_FOLDER = ["fit", "--model=SimCLR", *MODEL, "--data=ImageFolder", *DATA, *TRAINER, "--trainer.max_epochs=1"]
_MEASURE = ["--data.measure_statistics=true"]


def _folder(files: Path, name: str, **arguments: Any) -> Any:
    """The first image of a folder."""
    return ImageFolderDataModule(str(files / name), image_size=32, **arguments).images("train").read(0)


WRONG_FORMS = [
    Wrong(
        "16 bits without a range",
        [*_FOLDER, "--data.root={files}/deep", "--data.image_size=32", "--model.in_chans=1", "--data.in_chans=1"],
        "have more than 8 bits",
        lambda files: _folder(files, "deep", in_chans=1),
    ),
    Wrong(
        "five channels of PNG files",
        [*_FOLDER, "--data.root={files}/flat", "--data.image_size=32", "--model.in_chans=5", "--data.in_chans=5"],
        "it is no TIFF, DICOM or 16-bit PNG file, which alone are read with in_chans=5",
        lambda files: _folder(files, "flat", in_chans=5),
    ),
    Wrong(
        "a range of 12 bits for 8 bits",
        [*_FOLDER, "--data.root={files}/flat", "--data.image_size=32", "--data.value_range=[0,4095]"],
        "uint8, 0 to 255, which cannot fill value_range from 0 to 4095",
        lambda files: _folder(files, "flat", value_range=(0, 4095)),
    ),
    Wrong(
        "a range from high to low",
        [*SIMCLR, "--data.value_range=[255,0]"],
        "give (low, high) with low < high",
        lambda files: CIFAR10MiniDataModule(value_range=(255, 0)),
    ),
    Wrong(
        "a range for data that are 8-bit by themselves",
        [*SIMCLR, "--data.value_range=[0,255]"],
        "which need no value_range=",
        lambda files: CIFAR10MiniDataModule(value_range=(0, 255)).images("train"),
    ),
    Wrong(
        "no channels",
        [*SIMCLR, "--data.in_chans=0"],
        "in_chans=0: it must be a whole number of at least 1",
        lambda files: CIFAR10MiniDataModule(in_chans=0),
    ),
    Wrong(
        "a color channel that is not there",
        [*SIMCLR, "--data.color_channels=[2,1,3]"],
        "color_channels=[2, 1, 3] are not all there: with in_chans=3 channels are 0 to 2",
        lambda files: CIFAR10MiniDataModule(color_channels=[2, 1, 3]),
    ),
    Wrong(
        "two color channels",
        [*SIMCLR, "--data.color_channels=[0,1]"],
        "color_channels=[0, 1] must be three different channels",
        lambda files: CIFAR10MiniDataModule(color_channels=[0, 1]),
    ),
    Wrong(
        "statistics given and to be measured",
        [*SIMCLR, "--data.views=byol", "--data.mean=[0.5,0.5,0.5]", "--data.std=[1,1,1]", *_MEASURE],
        "so measure_statistics=True has no effect",
        lambda files: CIFAR10MiniDataModule(views="byol", mean=[0.5] * 3, std=[1] * 3, measure_statistics=True),
    ),
]
