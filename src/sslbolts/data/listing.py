"""Image files, found in folders: a million of them in seconds, and in little memory."""

import copy
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from glob import glob, has_magic
from typing import Any, NamedTuple, NoReturn, Self, overload

import numpy as np
import torch
from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.data.decode import FORMATS
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["EXTENSIONS", "Found", "FoundImages", "check_exists", "find_images", "walk"]

EXTENSIONS = (*(extension for extensions in FORMATS.values() for extension in extensions), ".dcm", ".dicom")
_TRAINING = {"train", "training", "unlabeled", "unlabelled"}
_HELD_OUT = {"val", "valid", "validation", "test"}
_OF_THE_FILE_SYSTEM = "lost+found"  # at the root of a disk, for its administrator's eyes only


class Found(NamedTuple):
    """An image file, and the name of its class, None where it has none."""

    path: str
    class_name: str | None


class _Block(NamedTuple):
    """Images that lie in one folder; ``names`` are joined by zero bytes."""

    folder: str
    class_name: str | None
    names: bytes

    @property
    def files(self) -> int:
        return self.names.count(b"\0") + 1

    def split(self) -> list[str]:
        return os.fsdecode(self.names).split("\0")


class FoundImages(Sequence[Found]):
    """Image files and their classes, held as names per folder: some 30 bytes and the name for each.

    Objects would take ten times as much, and worker processes would copy them just by counting references.

    Args:
        folders: each that holds images, with the class of its images, None where they have none.
        names: of all files, each followed by a zero byte.
        folder_of: ``(N,)`` row of ``folders`` of each file.
        per_place: number of files of each of the places where they were found, in order; None is one place.

    Example:
        >>> found = FoundImages.of([Found("a/1.png", "a"), Found("a/2.png", "a"), Found("b/1.png", "b")])
        >>> len(found), found[1].path, found.labels({"a": 0, "b": 1}).tolist(), found.take([2])[0].class_name
        (3, 'a/2.png', [0, 0, 1], 'b')
    """

    def __init__(
        self,
        folders: Sequence[tuple[str, str | None]],
        names: bytes,
        folder_of: "np.ndarray[Any, Any]",
        per_place: Sequence[int] | None = None,
    ) -> None:
        self.folders = list(folders)
        self.names = names
        self.per_place = [len(folder_of)] if per_place is None else list(per_place)
        self.folder_of = folder_of.astype(np.int32)
        ends = np.flatnonzero(np.frombuffer(names, np.uint8) == 0)
        self._ends = ends.astype(np.uint32 if len(names) < 2**32 else np.int64)
        self.rows: np.ndarray[Any, Any] | None = None  # None is all

    @classmethod
    def of(cls, images: Sequence[Found]) -> Self:
        """The same images, given one by one."""
        numbers: dict[tuple[str, str | None], int] = {}
        names, folder_of = bytearray(), np.empty(len(images), np.int32)
        for row, image in enumerate(images):
            folder, name = os.path.split(image.path)
            folder_of[row] = numbers.setdefault((folder, image.class_name), len(numbers))
            names += os.fsencode(name) + b"\0"
        return cls(list(numbers), bytes(names), folder_of)

    def __len__(self) -> int:
        return len(self._ends if self.rows is None else self.rows)

    @overload
    def __getitem__(self, row: int) -> Found: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> "Found | Self":
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        own = range(len(self))[row]  # an IndexError beyond the last
        file = own if self.rows is None else self.rows[own]
        folder, class_name = self.folders[self.folder_of[file]]
        start = int(self._ends[file - 1]) + 1 if file else 0
        return Found(os.path.join(folder, os.fsdecode(self.names[start : self._ends[file]])), class_name)

    def take(self, rows: "Sequence[int] | np.ndarray[Any, Any]") -> Self:
        """Some of the images, which share the names of all."""
        other = copy.copy(self)
        rows = np.asarray(rows, np.int64)
        other.rows = rows if self.rows is None else self.rows[rows]
        return other

    @property
    def class_names(self) -> set[str]:
        """Names of the classes that an image has."""
        used = range(len(self.folders)) if self.rows is None else np.unique(self.folder_of[self.rows]).tolist()
        return {name for name in (self.folders[row][1] for row in used) if name is not None}

    def labels(self, numbers: Mapping[str, int]) -> Tensor:
        """``(N,)`` int64: the number of each image's class, -1 where it has none, or one without a number."""
        label = np.array([-1 if name is None else numbers.get(name, -1) for _, name in self.folders], np.int64)
        return torch.from_numpy(label[self.folder_of if self.rows is None else self.folder_of[self.rows]])

    def places(self) -> Tensor:
        """``(N,)`` int64: which of the places each image was found in."""
        place = np.repeat(np.arange(len(self.per_place)), self.per_place)
        return torch.from_numpy(place if self.rows is None else place[self.rows])

    def first_without_class(self) -> str | None:
        """The first image that has no class; None if all have one."""
        rows = (self.labels(dict.fromkeys(self.class_names, 0)) < 0).nonzero()
        return self[int(rows[0])].path if len(rows) else None


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


def find_images(name: str, places: Sequence[str]) -> FoundImages:
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
    by_place = _blocks_of_places(name, places)
    return _together([block for blocks in by_place for block in blocks], [len(blocks) for blocks in by_place])


def _together(blocks: Sequence[_Block], per_place: Sequence[int]) -> FoundImages:
    names = b"".join(part for block in blocks for part in (block.names, b"\0"))
    numbers: dict[tuple[str, str | None], int] = {}  # files of a glob pattern are blocks of one
    folder_of = [numbers.setdefault((block.folder, block.class_name), len(numbers)) for block in blocks]
    files = [block.files for block in blocks]
    ends = np.cumsum([0, *files])[np.cumsum([0, *per_place])]
    return FoundImages(list(numbers), names, np.repeat(np.array(folder_of, np.int32), files), np.diff(ends).tolist())


def _blocks_of_places(name: str, places: Sequence[str]) -> list[list[_Block]]:
    """The images of each place, without those that a place before it has."""
    check_exists(name, places)
    matched: list[list[str]] = []
    for place in map(os.path.expanduser, places):
        matches = _matches(name, place) if has_magic(place) and not os.path.exists(place) else [place]
        # "**" matches a folder beside everything in it: its files come first then, and folders add what is missing.
        matched.append(sorted(matches, key=os.path.isdir))
    alone = len(matched) == 1 and len(matched[0]) == 1  # then nothing can come twice
    found, taken = [], _Taken()
    for place, matches in zip(map(os.path.expanduser, places), matched):
        blocks = [block for match in matches for block in _images_of(match)]
        if not blocks:
            raise UsageError(f'{name}="{place}" holds no images: looked for files that end in {", ".join(EXTENSIONS)}.')
        found.append(blocks if alone else [new for block in blocks if (new := taken.new_of(block))])
    return found


class _Taken:
    """The files that have been seen, by the real path of their folder."""

    def __init__(self) -> None:
        self.real: dict[str, str] = {}  # one call per folder, not per image
        self.names: dict[str, set[str]] = {}

    def new_of(self, block: _Block) -> _Block | None:
        """The images that have not been seen; None if all have."""
        real = self.real.get(block.folder)
        if real is None:
            real = self.real[block.folder] = os.path.realpath(block.folder)
        seen = self.names.setdefault(real, set())
        names = block.split()
        new = [name for name in names if name not in seen] if seen else names
        seen.update(new)
        return block._replace(names=_joined(new)) if new else None


def _matches(name: str, pattern: str) -> list[str]:
    try:
        return sorted(glob(pattern, recursive=True))
    except RecursionError:
        raise UsageError(
            f'{name}="{pattern}": its folders are nested too deep for "**". Give the folder itself, which is gone '
            "through to any depth."
        ) from None


def _images_of(place: str) -> Iterator[_Block]:
    if not os.path.isdir(place):
        if place.lower().endswith(EXTENSIONS):
            folder, file = os.path.split(place)
            yield _Block(folder, None, os.fsencode(file))
        return
    filled: dict[str, bool] = {}  # whether a folder holds any file
    names_of: dict[str, bytes] = {}  # of the image files in each folder
    for path, names in walk(place):
        filled[path] = bool(names)
        if images := [name for name in names if name.lower().endswith(EXTENSIONS)]:
            names_of[path] = _joined(images)
    folders = sorted(names_of, key=lambda path: path.replace(os.sep, "\0"))
    below = {folder: _first_part(folder, place) for folder in folders if folder != place}
    first = set(below.values())
    classes = place not in names_of and len(first) > 1
    training, held_out = ({name for name in first if name.lower() in names} for names in (_TRAINING, _HELD_OUT))
    splits = training | held_out
    if classes and (splits == first or (training and held_out)):
        raise UsageError(
            f'"{place}" holds the folders {", ".join(sorted(splits))}, which look like splits, not like classes: give '
            "the folder of the training images as root, and that of the validation images as labeled_val."
        )
    if place in names_of and len(first) > 1:
        stray = _Block(place, None, names_of[place])
        more = f" and {stray.files - 1:,} more" if stray.files > 1 else ""
        rank_zero_warn(
            f'"{os.path.join(place, stray.split()[0])}"{more} beside {len(first):,} folders of images: so these are no '
            f'classes, and no image in "{place}" has a label. If they are classes, move what is beside them elsewhere.'
        )
    if len(first) == 1 and place not in names_of and (empty := _empty(place, filled)):
        rank_zero_warn(
            f'"{place}" holds images in "{min(first)}" alone, and nothing in {_some(empty)}: one folder makes no '
            "classes, so no image has a label. Fill the others, or give the folder of the images itself."
        )
    for folder in folders:
        yield _Block(folder, below[folder] if classes else None, names_of[folder])


def _joined(names: Collection[str]) -> bytes:
    return os.fsencode("\0".join(names))


def _first_part(folder: str, place: str) -> str:
    """The folder directly in a place through which one comes to ``folder``, whose path begins with the place's."""
    return folder[len(place) :].lstrip(os.sep).split(os.sep, 1)[0]


def _empty(place: str, filled: dict[str, bool]) -> list[str]:
    """Names of the folders in a place in which, and below which, there is no file at all."""
    first: dict[str, bool] = {}
    for path, any_file in filled.items():
        if path != place:
            name = _first_part(path, place)
            first[name] = first.get(name, False) or any_file
    return sorted(name for name in first if not first[name])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and all below it, each once, with the names of what is in it besides folders and hidden files, sorted.

    Links to folders are followed after all others, so a folder counts as what it is without them. The path of a folder
    begins with the given one.

    Raises:
        UsageError: for a folder that cannot be read.
    """
    visited: set[tuple[int, int]] = set()
    waiting: list[str] = [folder]
    links: list[str] = []
    while waiting or links:
        current = waiting.pop() if waiting else links.pop(0)  # links last
        names: list[str] = []
        folders: list[os.DirEntry[str]] = []
        try:
            identity = os.stat(current)
            if (identity.st_dev, identity.st_ino) in visited:
                continue
            visited.add((identity.st_dev, identity.st_ino))
            with os.scandir(current) as scan:
                for entry in scan:
                    try:
                        is_folder = entry.is_dir()
                    except OSError:  # a link that goes round in a circle
                        is_folder = False
                    if is_folder:
                        folders.append(entry)
                    else:
                        names.append(entry.name)
        except OSError as error:
            _cannot_be_read(error)
        for entry in sorted(folders, key=lambda entry: entry.name):
            if not entry.name.startswith(".") and entry.name != _OF_THE_FILE_SYSTEM:
                (links if entry.is_symlink() else waiting).append(entry.path)
        names.sort()
        yield current, [name for name in names if name[0] != "." and name != _OF_THE_FILE_SYSTEM]


def _cannot_be_read(error: OSError) -> NoReturn:
    raise UsageError(
        f'"{error.filename}" cannot be read ({error.strerror}), and images of it would be missing: give yourself the '
        "right to read it, or move it elsewhere."
    )
