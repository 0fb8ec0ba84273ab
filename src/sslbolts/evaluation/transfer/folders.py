"""Folders as transfer sets: ``NAME/train/CLASS/*.jpg`` and ``NAME/test/CLASS/*.jpg``, the names of classes alike."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from sslbolts.checks import read_regular
from sslbolts.data.decode import opened
from sslbolts.data.listing import EXTENSIONS, walk
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["FolderImages", "folder_images"]


class FolderImages(Dataset[Any]):
    """The images of a folder of classes, ``(PIL image, label)``, turned upright as their files say.

    Args:
        folder: its subfolders are the classes; an image may lie at any depth in one.
        classes: their names, in the order of the labels; None is those of the folder, sorted.

    Raises:
        UsageError: for an image in no class, or in one that is not among the given.
    """

    def __init__(self, folder: str, classes: Sequence[str] | None = None) -> None:
        self.paths: list[str] = []
        found: list[str] = []
        for place, files in walk(folder):
            images = [os.path.join(place, file) for file in files if file.lower().endswith(EXTENSIONS)]
            name = os.path.relpath(place, folder).split(os.sep)[0]
            if images and name == os.curdir:
                raise UsageError(f'"{images[0]}" lies in no class: images are in "{folder}" by class, CLASS/*.jpg.')
            self.paths += images
            found += [name] * len(images)
        self.classes = sorted(set(found)) if classes is None else list(classes)
        labels = {name: label for label, name in enumerate(self.classes)}
        if strange := sorted(set(found) - labels.keys()):
            near = did_you_mean(strange[0], labels)
            raise UsageError(f'"{os.path.join(folder, strange[0])}" is no class of the training images.{near}')
        order = sorted(range(len(found)), key=lambda row: (labels[found[row]], self.paths[row]))
        self.paths = [self.paths[row] for row in order]
        self.targets = torch.tensor([labels[found[row]] for row in order], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import ImageOps

        path = self.paths[index]
        try:
            with opened(read_regular(path)) as file:
                return ImageOps.exif_transpose(file), int(self.targets[index])
        except (OSError, SyntaxError, ValueError) as error:
            raise OSError(f"{path}: {error}") from error


def folder_images(root: str, name: str) -> tuple[FolderImages, FolderImages]:
    """Training and test images of ``root/NAME``.

    Raises:
        UsageError: if there are none, or there is one class only.
    """
    parts: list[FolderImages] = []
    for split in ("train", "test"):
        place = os.path.join(root, name, split)
        if not os.path.isdir(place):
            raise UsageError(
                f'there is no folder "{place}", and it cannot be downloaded: images are read from '
                f"{os.path.join(name, 'train', 'CLASS', '*.jpg')} and {os.path.join(name, 'test', 'CLASS', '*.jpg')}."
            )
        parts.append(FolderImages(place, parts[0].classes if parts else None))
        if not len(parts[-1]):
            raise UsageError(f'"{place}" holds no images: looked for files that end in {", ".join(EXTENSIONS)}.')
    train, test = parts
    if len(train.classes) < 2:
        raise UsageError(f'"{os.path.join(root, name, "train")}" holds one class, and two are needed.')
    return train, test
