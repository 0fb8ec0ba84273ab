"""Image files: found in folders, and read when they are asked for."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from glob import glob, has_magic
from typing import Literal, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.checks import read_regular
from sslbolts.data.decode import FORMATS, ImageError
from sslbolts.data.formats import MissingPackage, read_image
from sslbolts.data.images import TensorImages, UnreadableImage
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.progress import late_bar

__all__ = ["EXTENSIONS", "FileImages", "Found", "check_exists", "find_images", "hold_in_memory", "walk"]

EXTENSIONS = (*(extension for extensions in FORMATS.values() for extension in extensions), ".dcm", ".dicom")
_TRAINING = {"train", "training", "unlabeled", "unlabelled"}
_HELD_OUT = {"val", "valid", "validation", "test"}
_OF_THE_FILE_SYSTEM = "lost+found"  # at the root of a disk, for its administrator's eyes only
_MOST_NAMES = 20


class Found(NamedTuple):
    """An image file, and the name of its class, None where it has none."""

    path: str
    class_name: str | None


def check_exists(name: str, places: Sequence[str]) -> None:
    """Refuses places that are not there, before anything else is done.

    Args:
        name: of the argument that holds them.
        places: folders, files or glob patterns.

    Raises:
        UsageError: that names the first which is missing.
    """
    if not places:
        raise UsageError(f"{name}=[] names no folder: give a folder, a glob pattern or several of them.")
    for place in map(os.path.expanduser, places):
        if not has_magic(place) and not os.path.exists(place):
            parent, base = os.path.split(place.rstrip("/\\"))
            near = did_you_mean(base, os.listdir(parent or ".")) if os.path.isdir(parent or ".") else ""
            raise UsageError(f'{name}="{place}" does not exist: give a folder of images or a glob pattern.{near}')


def find_images(name: str, places: Sequence[str]) -> list[Found]:
    """All image files in places, each once.

    A folder whose images all lie in two or more subfolders is a folder of classes: the subfolder is the class, however
    deep in it an image lies. In any other folder, and for a glob pattern of files, images have no class.

    Links to folders are followed, but no folder is gone through twice, and one that is also reached without a link
    counts as what it is there.

    Args:
        name: of the argument that holds the places, for messages.
        places: folders, files or glob patterns (``**`` is any number of folders; a pattern may also match folders).

    Raises:
        UsageError: if a place is missing, holds no image or has a folder that cannot be read.
    """
    check_exists(name, places)
    real_folder = cache(os.path.realpath)  # one call per folder, not per image
    found: dict[tuple[str, str], Found] = {}
    for place in map(os.path.expanduser, places):
        matches = _matches(name, place) if has_magic(place) and not os.path.exists(place) else [place]
        # "**" matches a folder beside everything in it: its files come first then, and folders add what is missing.
        images = [image for match in sorted(matches, key=os.path.isdir) for image in _images_of(match)]
        if not images:
            raise UsageError(f'{name}="{place}" holds no images: looked for files that end in {", ".join(EXTENSIONS)}.')
        for image in images:
            folder, file = os.path.split(image.path)
            found.setdefault((real_folder(folder), file), image)
    return list(found.values())


def _matches(name: str, pattern: str) -> list[str]:
    try:
        return sorted(glob(pattern, recursive=True))
    except RecursionError:
        raise UsageError(
            f'{name}="{pattern}": its folders are nested too deep for "**". Give the folder itself, which is gone '
            "through to any depth."
        ) from None


def _images_of(place: str) -> Iterator[Found]:
    if not os.path.isdir(place):
        if place.lower().endswith(EXTENSIONS):
            yield Found(place, None)
        return
    folders = {path: [file.name for file in files] for path, files in walk(place)}
    files_of = _images_by_folder(folders)
    below = {folder: os.path.relpath(folder, place).split(os.sep)[0] for folder in files_of if folder != place}
    first = set(below.values())
    classes = place not in files_of and len(first) > 1
    training, held_out = ({name for name in first if name.lower() in names} for names in (_TRAINING, _HELD_OUT))
    splits = training | held_out
    if classes and (splits == first or (training and held_out)):
        raise UsageError(
            f'"{place}" holds the folders {", ".join(sorted(splits))}, which look like splits, not like classes: give '
            "the folder of the training images as root, and that of the validation images as labeled_val."
        )
    if place in files_of and len(first) > 1:
        stray = files_of[place]
        more = f" and {len(stray) - 1:,} more" if len(stray) > 1 else ""
        rank_zero_warn(
            f'"{os.path.join(place, stray[0])}"{more} beside {len(first):,} folders of images: so these are no '
            f'classes, and no image in "{place}" has a label. If they are classes, move what is beside them elsewhere.'
        )
    if len(first) == 1 and place not in files_of and (empty := _empty(place, folders)):
        rank_zero_warn(
            f'"{place}" holds images in "{min(first)}" alone, and nothing in {_some(empty)}: one folder makes no '
            "classes, so no image has a label. Fill the others, or give the folder of the images itself."
        )
    for folder, files in files_of.items():
        for file in files:
            yield Found(os.path.join(folder, file), below[folder] if classes else None)


def _images_by_folder(folders: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names of the image files in each folder, sorted by folder; those without an image are left out."""
    images = {path: [name for name in folders[path] if name.lower().endswith(EXTENSIONS)] for path in folders}
    return {path: images[path] for path in sorted(images, key=lambda path: path.replace(os.sep, "\0")) if images[path]}


def _empty(place: str, folders: dict[str, list[str]]) -> list[str]:
    """Names of the folders in a place in which, and below which, there is no file at all."""
    filled = {os.curdir: True}
    for path, names in folders.items():
        name = os.path.relpath(path, place).split(os.sep)[0]
        filled[name] = filled.get(name, False) or bool(names)
    return sorted(name for name in filled if not filled[name])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def walk(folder: str) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
    """A folder and all below it, each once, with what is in it besides folders and hidden files, sorted.

    Links to folders are followed after all others, so a folder counts as what it is without them.

    Raises:
        UsageError: for a folder that cannot be read.
    """
    visited: set[tuple[int, int]] = set()
    waiting: list[str] = [folder]
    links: list[str] = []
    while waiting or links:
        current = waiting.pop() if waiting else links.pop(0)  # links last
        try:
            identity = os.stat(current)
            if (identity.st_dev, identity.st_ino) in visited:
                continue
            visited.add((identity.st_dev, identity.st_ino))
            with os.scandir(current) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            _cannot_be_read(error)
        files = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name == _OF_THE_FILE_SYSTEM:
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else waiting).append(entry.path)
            else:
                files.append(entry)
        yield current, files


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in a circle
        return False


def _cannot_be_read(error: OSError) -> NoReturn:
    raise UsageError(
        f'"{error.filename}" cannot be read ({error.strerror}), and images of it would be missing: give yourself the '
        "right to read it, or move it elsewhere."
    )


class FileImages:
    """Images that are decoded when they are asked for.

    Args:
        paths: of the files.
        targets: label of each, -1 where it has none.
        form: channels and range of values that each must have.
        on_bad_image: what to do with a file that cannot be read, or has other channels: "raise" names it; "skip"
            counts it.
    """

    _advice = 'remove it, or give on_bad_image="skip"'

    def __init__(
        self, paths: Sequence[str], targets: Sequence[int], *, form: PixelForm, on_bad_image: Literal["raise", "skip"]
    ) -> None:
        # One block of bytes, not a million objects: worker processes would copy those just by counting references.
        # Nor an array of them, in which each would take as much as the longest.
        encoded = [os.fsencode(path) for path in paths]
        self._block = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])
        self.targets = torch.tensor(targets, dtype=torch.int64)
        self.labeled = bool((self.targets >= 0).any())
        self.form = form
        self.in_chans = form.in_chans
        self.dtype = form.dtype
        self.on_bad_image = on_bad_image
        self._bad = torch.zeros(len(paths), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]  # workers set, the main process reads
        self._reported = 0

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def paths(self) -> list[str]:
        """Of the files, in the order of the images."""
        return [self._path(index) for index in range(len(self))]

    def read(self, index: int) -> tuple[Tensor, int]:
        """Image ``(C, H, W)``, uint8 or uint16, and its label, -1 where it has none.

        Raises:
            ImageError: if it cannot be read or is of another kind than declared, and ``on_bad_image="raise"``.
            UnreadableImage: if so, and ``on_bad_image="skip"``.
        """
        path = self._path(index)
        try:
            return self._decode(index), int(self.targets[index])
        except Exception as error:  # the decoders raise whatever a broken file runs them into
            if isinstance(error, MissingPackage):  # no file of this format can be read
                raise ImageError(f"{path} cannot be read: {error}") from None
            unfit = isinstance(error, UsageError)
            reason = str(error) if unfit else f"{type(error).__name__}: {error}"
            if self.on_bad_image == "skip":
                self._bad[index] = True
                raise UnreadableImage(f"{path}: {reason}") from error
            if unfit:
                raise ImageError(f"{path} is not usable: {reason}") from None
            raise ImageError(f"{path} cannot be read as an image ({reason}): {self._advice}.") from None

    @property
    def bad_images(self) -> list[str]:
        """Files that could not be used so far, in any process."""
        return [self._path(index) for index in self._bad.nonzero().flatten().tolist()]

    def _decode(self, index: int) -> Tensor:
        return read_image(read_regular(self._path(index)), self.form)

    def _path(self, index: int) -> str:
        return os.fsdecode(self._block[self._ends[index] : self._ends[index + 1]])

    def report_bad(self) -> str:
        """A sentence on files that could not be used; empty if there are no new ones since the last report."""
        bad = self.bad_images
        if len(bad) == self._reported:
            return ""
        self._reported = len(bad)
        more = f" and {len(bad) - _MOST_NAMES:,} more" if len(bad) > _MOST_NAMES else ""
        return (
            f"{len(bad):,} of {len(self):,} image files could not be used and were left out (in training batches, "
            f"another image took the place of each): {', '.join(bad[:_MOST_NAMES])}{more}."
        )


class HeldFiles(TensorImages):
    """Images that were decoded once and are held in memory, without those that could not be read.

    Args:
        data: ``(N, C, H, W)``, uint8 or uint16.
        targets: ``(N,)`` labels.
        paths: of the file of each.
    """

    def __init__(self, data: Tensor, targets: Tensor, paths: list[str]) -> None:
        super().__init__(data, targets)
        self.paths = paths


def hold_in_memory(images: FileImages) -> HeldFiles | None:
    """All images as one tensor, without those that are left out; None if they are of several sizes."""
    data = torch.empty(0)
    kept: list[int] = []
    for index in late_bar(range(len(images)), "Reading images into memory"):
        try:
            image, _ = images.read(index)
        except UnreadableImage:
            continue
        if not kept:
            data = image.new_empty(len(images), *image.shape)
        if image.shape != data.shape[1:]:
            return None
        data[len(kept)] = image
        kept.append(index)
    files = images.paths
    return HeldFiles(data[: len(kept)], images.targets[kept], [files[index] for index in kept]) if kept else None
