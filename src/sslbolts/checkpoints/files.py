"""Files of weights, read without running anything that stands in them."""

import contextlib
import json
import pickle
import re
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from sslbolts.checkpoints.hub import is_address
from sslbolts.errors import UsageError, did_you_mean

__all__ = [
    "METADATA",
    "PREPROCESSING",
    "is_whole",
    "load_plain",
    "must_be_file",
    "must_be_whole",
    "read_checkpoint",
    "read_safetensors",
    "refused_classes",
    "some",
    "uncompiled",
]

_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
    ValueError,
    KeyError,
    IndexError,
    OSError,
)
"""What ``torch.load`` raises for a file that is none of its own, or not a whole one."""

METADATA = "sslbolts"
"""Name in a file's metadata under which it says how its network is made."""
PREPROCESSING = "preprocessing"
"""Name in a file's metadata under which it says how images enter."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a file of ``torch.save``, through ``weights_only=True``: tensors and plain data.

    Objects of other classes (configurations, callbacks, enumerations) become placeholders without content: their
    classes are not imported, and none of their code is run. Tensors are mapped into memory where the file allows it
    (not before torch 1.6), so that only what is used is read.

    Args:
        path: a file of ``torch.save`` or ``Trainer.save_checkpoint``.

    Raises:
        UsageError: if there is no such file, it is of another kind, or objects in it have no placeholder.
    """
    must_be_file(path)
    with _harmless(path):
        return load_plain(path, mmap=zipfile.is_zipfile(path))


def load_plain(
    file: str | Path | IO[bytes], map_location: Any = "cpu", *, name: str = "", mmap: bool = False
) -> dict[str, Any]:
    """The content of a file of ``torch.save``, if it is a dictionary of tensors and plain data.

    Args:
        file: or a path.
        map_location: the device of its tensors.
        name: of an open file.
        mmap: map a file's tensors into memory.

    Raises:
        UsageError: if there is no such file, or it holds anything else.
    """
    name = name or str(file)
    if isinstance(file, str | Path):
        must_be_file(file)
        must_be_whole(Path(file))
    from safetensors import SafetensorError  # torch 2.14 reads such a file, too

    try:
        content = torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)
    except (*_UNREADABLE, SafetensorError) as error:
        raise UsageError(f'"{name}" cannot be read as a checkpoint of tensors and plain data: {_why(error)}') from error
    if not isinstance(content, dict):
        raise UsageError(
            f'"{name}" holds a {type(content).__name__} and not a dictionary of tensors: save its state_dict().'
        )
    return content


def is_whole(path: Path) -> bool:
    """Whether a file of ``torch.save`` is as it was written: its archive has a checksum of every tensor."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError):
        return False


def must_be_whole(path: Path) -> None:
    """Refuse a damaged archive, and name the newest checkpoint beside it that is whole."""
    with path.open("rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"", b"\0\0") or is_whole(path):  # others are from before torch 1.6, or no checkpoints
        return
    others = sorted(path.parent.glob(f"*{path.suffix}"), key=lambda other: other.stat().st_mtime, reverse=True)
    whole = next((other for other in others if other != path and is_whole(other)), None)
    advice = "no other one beside it is whole." if whole is None else f'the newest whole one beside it is "{whole}".'
    raise UsageError(f'"{path}" is damaged: bytes are missing or were changed since it was written; {advice}')


def refused_classes(path: str | Path) -> list[str]:
    """Names of the classes and functions in a file of ``torch.save`` that ``weights_only=True`` does not load.

    A file from before torch 1.6 cannot be looked through beforehand, and has none here.
    """
    if zipfile.is_zipfile(path):
        with contextlib.suppress(Exception):
            return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return []


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file; JSON among the metadata is parsed.

    Raises:
        UsageError: if there is no such file, or it is of another kind.
    """
    from safetensors import SafetensorError, safe_open

    must_be_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            names = file.keys()  # it is not a mapping
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise UsageError(f'"{path}" is not a safetensors file: {error}.') from error
    return tensors, {name: _parsed(value) for name, value in metadata.items()}


def some(names: list[str]) -> str:
    """The first few of many names, for a message.

    Example:
        >>> some(["a", "b", "c", "d", "e", "f"]), some([])
        ('a, b, c, d and 2 more', 'nothing')
    """
    return "nothing" if not names else ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def uncompiled(name: str) -> str:
    """A tensor's name without what ``torch.compile`` put into it."""
    return name.replace("_orig_mod.", "")


class _Placeholder:
    """Stands for an object that is neither a tensor nor plain data: it takes everything, and is nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, *_: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "_Placeholder":
        return self


@contextlib.contextmanager
def _harmless(path: str | Path) -> Iterator[None]:
    """``weights_only=True`` reads a Namespace of arguments as such, and what else it would refuse as placeholders."""
    names = [name for name in refused_classes(path) if name != "argparse.Namespace"]
    with safe_globals([Namespace, *((_Placeholder, name) for name in names)]):
        yield


def _why(error: Exception) -> str:
    reason = str(error).strip()
    name = re.search(r"GLOBAL ([\w.]+)", reason) or re.search(r"(?:class|function|global) '?<?([\w.]+)", reason)
    if isinstance(error, pickle.UnpicklingError) and name:
        return (
            f"it needs the class {name[1]}, whose code would run. Where you trust the file, save its tensors alone: "
            'torch.save({"state_dict": torch.load(path, weights_only=False)["state_dict"]}, "weights.pth").'
        )
    return reason.partition("\n")[0] or type(error).__name__


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def must_be_file(path: str | Path) -> None:
    """Refuse what is no regular file: a pipe that nobody writes to, a device without an end.

    Raises:
        UsageError: names what is there, or the nearest file.
    """
    if is_address(path):
        raise UsageError(
            f'"{path}" is the address of a backbone alone, which load_backbone, export, evaluate, detect, transfer, '
            "diagnose and pictures read; a run or a whole method needs the file of a checkpoint."
        )
    path = Path(path)
    if path.is_dir():
        raise UsageError(f'"{path}" is a folder, and a file is needed: give one that is in it.')
    if path.exists() and not path.is_file():
        raise UsageError(f'"{path}" is no regular file, and so no file of weights.')
    if not path.is_file():
        folder = path.parent
        near = did_you_mean(path.name, [p.name for p in folder.iterdir() if p.is_file()]) if folder.is_dir() else ""
        raise UsageError(f'there is no file "{path}".{near}')
