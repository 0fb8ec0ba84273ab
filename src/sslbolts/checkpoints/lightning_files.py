"""A Trainer's reading of checkpoints: tensors and plain data, whichever version of Lightning asks."""

from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from sslbolts._lightning import Trainer, lightning_module
from sslbolts.checkpoints.files import load_plain

__all__ = ["PlainCheckpointIO", "read_plain_checkpoints"]


class PlainCheckpointIO(lightning_module("plugins.io").TorchCheckpointIO):  # type: ignore[misc]
    """Lightning's reader and writer of checkpoints, which unpickles nothing unless it is told to.

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
            UsageError: if there is no such file, or it holds more than tensors and plain data.
        """
        if weights_only is False:
            trusted: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=False)
            return trusted
        system, place = fsspec.core.url_to_fs(str(path))
        if isinstance(system, LocalFileSystem):
            return load_plain(place, map_location)
        with system.open(place, "rb") as file:
            return load_plain(file, map_location, name=str(path))


def read_plain_checkpoints(trainer: Trainer) -> None:
    """Let a Trainer read checkpoints through :class:`PlainCheckpointIO`, unless it was given a reader of its own."""
    strategy: Any = trainer.strategy
    if type(strategy.checkpoint_io) is lightning_module("plugins.io").TorchCheckpointIO:
        strategy.checkpoint_io = PlainCheckpointIO()
