"""A Trainer's checkpoints: written whole or not at all, read as tensors and plain data alone."""

import os
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import torch
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from sslbolts._lightning import Trainer, lightning_module
from sslbolts.checkpoints.files import load_plain, must_be_whole
from sslbolts.checks import whole_file

__all__ = ["PlainCheckpointIO", "WholeCheckpointIO", "read_plain_checkpoints", "write_whole_checkpoints"]


class WholeCheckpointIO(lightning_module("plugins.io").TorchCheckpointIO):  # type: ignore[misc]
    """Lightning's reader and writer of checkpoints, which loses none and reads no damaged one.

    A file is written beside its place, and takes it once it is on the disk: a run that is killed while it saves, or
    that finds the disk full, leaves the checkpoint from before. (Lightning writes where temporary files are, and copies
    from there.) What is behind an address is written and read as by Lightning.

    Example:
        >>> trainer = Trainer(plugins=[WholeCheckpointIO()], logger=False, accelerator="cpu")
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: what the Trainer gathered.
            path: a file, or an address.
            storage_options: as in Lightning.

        Raises:
            UsageError: names the file, if it cannot be written.
        """
        place = _local(path)
        if place is None or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(place, errors=(RuntimeError,)) as unfinished, unfinished.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """The content of a checkpoint; arguments are Lightning's.

        Raises:
            UsageError: if the file is damaged; it names the newest whole one beside it.
        """
        place = _local(path)
        if place is not None and Path(place).is_file():
            must_be_whole(Path(place))
        content: dict[str, Any] = super().load_checkpoint(path, *args, **options)
        return content


class PlainCheckpointIO(WholeCheckpointIO):
    """A reader of checkpoints that unpickles nothing unless it is told to.

    Lightning 2.5 unpickles every file, and 2.6 those behind an address. Here a file of which ``weights_only=True``
    refuses something is refused, by whatever name it was found: a path, an address, "last", "best" or "hpc".

    Example:
        >>> trainer = Trainer(plugins=[PlainCheckpointIO()], logger=False, accelerator="cpu")
    """

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The content of a checkpoint.

        Args:
            path: a file, or an address that fsspec opens.
            map_location: the device of its tensors.
            weights_only: False unpickles whatever the file holds, and runs its code (Lightning 2.6 and newer).

        Raises:
            UsageError: if there is no such file, it is damaged, or it holds more than tensors and plain data.
        """
        if weights_only is False:
            trusted: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=False)
            return trusted
        place = _local(path)
        if place is not None:
            return load_plain(place, map_location)
        system, place = fsspec.core.url_to_fs(str(path))
        with system.open(place, "rb") as file:
            return load_plain(file, map_location, name=str(path))


def _local(path: str | Path) -> str | None:
    """The file of a path; None for an address."""
    system, place = fsspec.core.url_to_fs(str(path))
    return str(place) if isinstance(system, LocalFileSystem) else None


def read_plain_checkpoints(trainer: Trainer) -> None:
    """Let a Trainer read checkpoints through :class:`PlainCheckpointIO`, unless it was given a reader of its own."""
    _exchange(trainer, PlainCheckpointIO)


def write_whole_checkpoints(trainer: Trainer) -> None:
    """Let a Trainer write checkpoints through :class:`WholeCheckpointIO`, unless it was given a writer of its own."""
    _exchange(trainer, WholeCheckpointIO)


def _exchange(trainer: Trainer, kind: type) -> None:
    strategy: Any = trainer.strategy
    if type(strategy.checkpoint_io) is lightning_module("plugins.io").TorchCheckpointIO:
        strategy.checkpoint_io = kind()
