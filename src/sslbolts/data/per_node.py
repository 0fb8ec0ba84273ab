"""Lists of files that one process of a node makes for all of its processes."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, Protocol

import numpy as np

from sslbolts.data.listing import FoundImages
from sslbolts.errors import UsageError

__all__ = ["Processes", "once_per_node"]


class Processes(Protocol):
    """The processes of a run, as a Trainer knows them."""

    @property
    def local_rank(self) -> int:
        """Among the processes of the node."""
        ...

    @property
    def node_rank(self) -> int:
        """Of the node."""
        ...

    @property
    def strategy(self) -> Any:
        """With ``broadcast`` and ``barrier``."""
        ...


def once_per_node(processes: Processes, lists: Mapping[str, Callable[[], FoundImages]]) -> dict[str, FoundImages]:
    """What the functions give, called by the first process of each node alone; all processes must come here.

    The others read it from a folder in the node's temporary one, which is gone afterwards. One that does not find it
    there, because containers have temporary folders of their own, calls the functions itself.

    Args:
        processes: a Trainer.
        lists: by name.

    Raises:
        UsageError: on all processes, that a function raised on the first of their node.
    """
    token = processes.strategy.broadcast(token_hex(16))
    folder = os.path.join(tempfile.gettempdir(), f"sslbolts-{token}-{processes.node_rank}")
    found: dict[str, FoundImages] = {}
    if processes.local_rank == 0:
        try:
            found = {name: make() for name, make in lists.items()}
            _write(folder, found)
        except UsageError as error:
            _write(folder, {}, str(error))
            raise
        finally:
            processes.strategy.barrier()
            processes.strategy.barrier()  # all have read it
            shutil.rmtree(folder, ignore_errors=True)
        return found
    processes.strategy.barrier()
    try:
        return _read(folder, lists)
    finally:
        processes.strategy.barrier()


def _write(folder: str, found: Mapping[str, FoundImages], error: str = "") -> None:
    try:
        os.mkdir(folder, 0o700)
        for name, images in found.items():
            np.save(os.path.join(folder, f"{name}.names.npy"), np.frombuffer(images.names, np.uint8))
            np.save(os.path.join(folder, f"{name}.folder_of.npy"), images.folder_of)
        about = {
            "error": error,
            "folders": {name: images.folders for name, images in found.items()},
            "per_place": {name: images.per_place for name, images in found.items()},
        }
        with open(os.path.join(folder, "about.json"), "x") as file:
            json.dump(about, file)
    except OSError:  # no room, or no right to write there: then the others do not find it
        shutil.rmtree(folder, ignore_errors=True)


def _read(folder: str, lists: Mapping[str, Callable[[], FoundImages]]) -> dict[str, FoundImages]:
    try:
        with open(os.path.join(folder, "about.json")) as file:
            about = json.load(file)
    except OSError:
        return {name: make() for name, make in lists.items()}
    if about["error"]:
        raise UsageError(about["error"])
    return {
        name: FoundImages(
            [(place, class_name) for place, class_name in about["folders"][name]],
            np.load(os.path.join(folder, f"{name}.names.npy")).tobytes(),
            np.load(os.path.join(folder, f"{name}.folder_of.npy")),
            about["per_place"][name],
        )
        for name in lists
    }
