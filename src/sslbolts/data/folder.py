"""Folders of image files."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Unpack

import torch

from sslbolts._lightning import rank_zero_info
from sslbolts.checks import one_of
from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.files import FileImages, Found, HeldFiles, check_exists, find_images, hold_in_memory
from sslbolts.data.images import Images, UnreadableImage
from sslbolts.data.loader import TrainLoader
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["ImageFolderDataModule"]

_SMALL = 64  # pixels per side
_MOST_BYTES_IN_MEMORY = 2**30


class ImageFolderDataModule(SSLDataModule):
    """Folders of image files, with or without labels.

    A folder whose images all lie in two or more subfolders is a folder of classes: the subfolder is the class. In any
    other folder, nested ones included, and for a glob pattern of files, images have no label.

    Val and test: ``labeled_val``, or the part of the training images that ``val_fraction`` holds out, or nothing.
    Bank: ``labeled_train``, or the training images if they have labels.

    Images are turned as their EXIF orientation says, and converted where that loses nothing (grayscale to RGB). One
    that then has other channels than ``in_chans`` declares counts as one that cannot be read; so does one of several
    frames or pages, or of more than ``PIL.Image.MAX_IMAGE_PIXELS`` (89 million).

    Images of more than 8 bits (PNG, TIFF, GeoTIFF, DICOM) need a ``value_range``, since their type does not say what
    black and white are; of DICOM files their window says it. TIFF files of other than 1, 3 or 4 channels or other than
    8 bits, GeoTIFF and DICOM need ``pip install "sslbolts[formats]"``. Pixels without data of a GeoTIFF become 0.

    Args:
        root: folder, glob pattern or a list of them: the training images.
        labeled_train: folder(s) of classes for the bank; its classes are then the classes.
        labeled_val: folder(s) of classes for the queries; its classes must be among those of the bank.
        val_fraction: part of the training images to hold out as queries, from 0 to below 1.
        val_seed: which images ``val_fraction`` holds out; of its own, so that ``seed`` does not move them.
        on_bad_image: what to do with a file that cannot be read. "raise" names it. "skip" leaves it out, counts it, and
            names all such files at the end: another image, which the batch does not hold yet, takes its place in a
            training batch (batches keep their size), and evaluation batches are smaller, or even empty.
        in_memory: decode all images once at the start and hold them as one tensor; None does where they are of one
            size, at most 64 pixels a side, and take at most 1 GiB together.
        **common: :class:`~sslbolts.data.arguments.DataArguments`.

    Raises:
        UsageError: for a folder that is missing or empty, or classes that do not match.
    """

    def __init__(
        self,
        root: str | list[str],
        *,
        labeled_train: str | list[str] | None = None,
        labeled_val: str | list[str] | None = None,
        val_fraction: float = 0.0,
        val_seed: int = 0,
        on_bad_image: Literal["raise", "skip"] = "raise",
        in_memory: bool | None = None,
        **common: Unpack[DataArguments],
    ) -> None:
        super().__init__(**common)
        if not 0 <= val_fraction < 1:
            raise UsageError(f"val_fraction={val_fraction} must be from 0 to below 1.")
        if val_fraction > 0 and labeled_val is not None:
            raise UsageError("val_fraction= and labeled_val= both say what the queries are: give one of them.")
        one_of(("raise", "skip"), on_bad_image=on_bad_image)
        self._places = {"root": root, "labeled_train": labeled_train, "labeled_val": labeled_val}
        for name, places in self._places.items():
            if places is not None:
                check_exists(name, _as_list(places))
        self.val_fraction = val_fraction
        self.val_seed = val_seed
        self.on_bad_image = on_bad_image
        self.in_memory = in_memory

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]  # known when the folders have been read
        """Names of the classes, sorted; None where there are no labels."""
        for argument in ("labeled_train", "root", "labeled_val"):
            names = {found.class_name for found in self._found(argument)} - {None}
            if names:
                return tuple(sorted(name for name in names if name is not None))
        return None

    @property
    def bad_images(self) -> list[str]:
        """Files that could not be used so far, with ``on_bad_image="skip"``."""
        return sorted({path for files in self._files.values() for path in files.bad_images})

    def paths(self, split: Split) -> list[str]:
        """The file of each image of a split, in the order of the ``indices`` in its batches."""
        images = self.images(split)
        assert isinstance(images, FileImages | HeldFiles)
        return images.paths

    def load(self, split: Split) -> Images | None:
        """Image files of a split."""
        if split == "test":
            return self._loaded("val")
        if split == "bank":
            return self._loaded("train") if self._places["labeled_train"] is None else self._open("labeled_train")
        if split == "val" and self._places["labeled_val"] is not None:
            return self._open("labeled_val")
        found = self._found("root")
        held_out = round(self.val_fraction * len(found))
        if self.val_fraction > 0 and held_out in (0, len(found)):
            raise UsageError(
                f"val_fraction={self.val_fraction} of {len(found):,} images is {held_out:,}, which leaves none to "
                f"{'train on' if held_out else 'hold out'}: give a {'smaller' if held_out else 'greater'} part."
            )
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(self.val_seed))
        rows = sorted((order[:held_out] if split == "val" else order[held_out:]).tolist())
        if not rows:
            return None
        return self._open("root", [found[row] for row in rows], key=split)

    def train_dataloader(self) -> TrainLoader:
        """Batches of views; outside a Trainer, :meth:`on_after_batch_transfer` finishes them.

        Raises:
            UsageError: if ranks could not read the same files, and so hold different images.
        """
        images = self.images("train")
        trainer = self._current_trainer
        if isinstance(images, HeldFiles) and self.on_bad_image == "skip" and trainer is not None:
            strategy = trainer.strategy
            held = strategy.all_gather(torch.tensor([len(images)], device=strategy.root_device)).flatten().tolist()
            if len(set(held)) > 1:
                raise UsageError(
                    f"the processes could read {', '.join(f'{number:,}' for number in held)} training images, each its "
                    "own number: give in_memory=False, or a disk on which all can read the same files."
                )
        return super().train_dataloader()

    @cached_property
    def _files(self) -> dict[str, FileImages]:
        return {}

    @cached_property
    def _listed(self) -> dict[str, list[Found]]:
        return {}

    def _found(self, argument: str) -> list[Found]:
        places = self._places[argument]
        if places is None:
            return []
        if argument not in self._listed:
            found = find_images(argument, _as_list(places))
            classless = next((image.path for image in found if image.class_name is None), None)
            if argument != "root" and classless is not None:
                raise UsageError(
                    f"{argument}={places!r} must hold one subfolder per class, two or more, and nothing beside them: "
                    f'"{classless}" has no class.'
                )
            self._listed[argument] = found
        return self._listed[argument]

    def _open(self, argument: str, found: list[Found] | None = None, *, key: str | None = None) -> Images:
        found = self._found(argument) if found is None else found
        label = {name: number for number, name in enumerate(self.class_names or ())}
        unknown = {image.class_name for image in found} - {None, *label}
        if argument == "labeled_val" and unknown:
            first = min(name for name in unknown if name is not None)
            raise UsageError(
                f'labeled_val has the class "{first}", which is not among the {len(label)} classes of the bank.'
                f"{did_you_mean(first, label)}"
            )
        labels = [label.get(image.class_name or "", -1) for image in found]
        files = self._file_images(argument, [image.path for image in found], labels)
        self._files[key or argument] = files
        if self.in_memory is False or (self.in_memory is None and not _is_small(files)):
            return files
        rank_zero_info(f"Reading {len(files):,} images of {argument} into memory.")
        held = hold_in_memory(files)
        if held is None and self.in_memory:
            raise UsageError(
                f"in_memory=True, but the images of {argument} are not all of one size: leave in_memory out."
            )
        return held or files

    def _file_images(self, argument: str, paths: list[str], labels: list[int]) -> FileImages:
        return FileImages(paths, labels, form=self.form, on_bad_image=self.on_bad_image)

    def teardown(self, stage: str | None = None) -> None:
        """Names, once, the files that could not be read."""
        for files in self._files.values():
            if message := files.report_bad():
                # Not on rank 0 alone: every rank has read files of its own.
                warnings.warn(message, stacklevel=2)

    def _labels_hint(self) -> str:
        return "give labeled_train= and labeled_val= (folders of classes), or switch off what needs labels."


def _as_list(places: str | Sequence[str]) -> list[str]:
    return [places] if isinstance(places, str) else list(places)


def _is_small(files: FileImages) -> bool:
    """True if the first image that can be read is small, and so many of its size take little memory."""
    for index in range(min(len(files), 100)):
        try:
            image, _ = files.read(index)
        except UnreadableImage:
            continue
        return max(image.shape[1:]) <= _SMALL and image.nbytes * len(files) <= _MOST_BYTES_IN_MEMORY
    return False
