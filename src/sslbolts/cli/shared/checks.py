"""Values of the command line that would fail only later, and in somebody else's words."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslbolts.checks import must_be_writable
from sslbolts.errors import UsageError

__all__ = ["check_folder", "check_places", "check_seed"]

_LARGEST_SEED = 2**32 - 1  # NumPy's


def check_seed(option: str, seed: Any) -> None:
    """Refuse a number that is no seed of NumPy.

    Raises:
        UsageError: with the range.
    """
    if isinstance(seed, int) and not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"{option} {seed}: a seed is between 0 and {_LARGEST_SEED}.")


def check_folder(option: str, folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that can neither be written to nor made.

    Raises:
        UsageError: names what stands in its way.
    """
    if "://" in str(folder):
        return
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"{option} {folder}: {place} is a file, and a folder is needed: give another one.")
    try:
        must_be_writable(place / ".sslbolts")
    except UsageError as error:
        reason = getattr(error.__cause__, "strerror", None) or "no file can be made there"
        raise UsageError(f"{option} {folder}: {place} cannot be written to ({reason}): give another folder.") from error


def check_places(trainer: Any) -> None:
    """Refuse a Trainer's configuration if its root, a logger or a checkpoint goes where no folder can be.

    Raises:
        UsageError: names the option.
    """
    for option, folder in _places(trainer):
        if isinstance(folder, str | os.PathLike):
            check_folder(option, folder)


def _places(trainer: Any) -> Iterator[tuple[str, Any]]:
    yield "--trainer.default_root_dir", trainer.get("default_root_dir")
    for group, name in (("logger", "save_dir"), ("callbacks", "dirpath")):
        given = trainer.get(group)
        for item in given if isinstance(given, list) else [given]:
            arguments = getattr(item, "init_args", None)
            if arguments is not None:
                yield f"--trainer.{group}.{name}", arguments.get(name)
