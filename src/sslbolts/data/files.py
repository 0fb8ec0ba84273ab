"""Image files that are read when they are asked for."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sslbolts.checks import read_regular
from sslbolts.data.decode import ImageError
from sslbolts.data.formats import MissingPackage, read_image
from sslbolts.data.images import TensorImages, UnreadableImage
from sslbolts.data.listing import Found, FoundImages
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar

__all__ = ["FileImages", "HeldFiles", "hold_in_memory"]

_MOST_NAMES = 20


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
        self,
        paths: Sequence[str] | FoundImages,
        targets: Sequence[int] | Tensor,
        *,
        form: PixelForm,
        on_bad_image: Literal["raise", "skip"],
    ) -> None:
        # Blocks of bytes, not a million objects: worker processes would copy those just by counting references.
        # Nor an array of them, in which each would take as much as the longest.
        self.found = paths if isinstance(paths, FoundImages) else FoundImages.of([Found(path, None) for path in paths])
        self.targets = torch.as_tensor(targets, dtype=torch.int64)
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
        return self.found[index].path

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
