"""Torchvision's data sets, with one clear line where they are missing."""

import os
import stat
from typing import Any

from sslbolts.data.listing import walk
from sslbolts.errors import UsageError

__all__ = ["check_files", "fetch", "has_folder"]

_FOLDERS = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "Caltech101": "caltech101",
    "DTD": "dtd",
    "FGVCAircraft": "fgvc-aircraft-2013b",
    "Flowers102": "flowers-102",
    "Food101": "food-101",
    "OxfordIIITPet": "oxford-iiit-pet",
    "STL10": "stl10_binary",
    "SUN397": "SUN397",
    "StanfordCars": "stanford_cars",
    "VOCDetection": os.path.join("VOCdevkit", "VOC2007"),
}
_MOST_BYTES = 2**32  # STL-10's unlabeled images take 2.6 GiB
_ARCHIVES = (".gz", ".tar", ".tgz", ".zip")  # which torchvision only unpacks


def fetch(name: str, root: str, *, download: bool, **arguments: Any) -> Any:
    """A data set of torchvision, fetched into ``root`` first where that is wanted and needed.

    Args:
        name: its class in ``torchvision.datasets``.
        root: folder that holds it.
        download: fetch it if it is not there.
        **arguments: further arguments of its class.

    Raises:
        UsageError: if it is not there, or cannot be fetched.
    """
    from torchvision import datasets

    constructor = getattr(datasets, name)
    check_files(name, root)
    try:
        return constructor(root, download=False, **arguments)
    except RuntimeError as missing:  # "Dataset not found or corrupted"
        if not download:
            raise UsageError(
                f'{name} is not in root="{root}", or incomplete: give the folder that holds it, or fetch it with '
                "download=True on a machine with a network (outside a Trainer, call prepare_data() first)."
            ) from missing
    try:
        return constructor(root, download=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f'{name} is not in root="{root}" and could not be fetched ({error}): copy it there from a machine with a '
            "network, or use CIFAR10MiniDataModule, whose images come with the package."
        ) from error


def has_folder(name: str, root: str) -> bool:
    """Whether a data set's folder is there, which torchvision would make for some that are only looked for.

    Args:
        name: of the data set's class in ``torchvision.datasets``.
        root: folder that holds it.
    """
    return os.path.isdir(os.path.join(root, _FOLDERS[name]))


def check_files(name: str, root: str) -> None:
    """Refuses files for which torchvision would wait forever, or that it would read until memory ends.

    Args:
        name: of the data set's class in ``torchvision.datasets``.
        root: folder that holds it.

    Raises:
        UsageError: that names the first pipe, device or file of more than 4 GiB in the data set's folder.
    """
    folder = os.path.join(root, _FOLDERS[name])
    listed = walk(folder) if os.path.isdir(folder) else ()
    for path in (os.path.join(place, name) for place, names in listed for name in names):
        try:
            found = os.stat(path)
        except OSError:  # a link that leads nowhere
            continue
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f'"{path}" is no regular file, and {name} would read it: remove it.')
        if found.st_size > _MOST_BYTES and not path.endswith(_ARCHIVES):
            raise UsageError(f'"{path}" has {found.st_size:,} bytes, as no file of {name} has: remove it.')
