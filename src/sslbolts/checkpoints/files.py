"""Files of weights, read without running anything that stands in them."""

import contextlib
import json
import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["METADATA", "PREPROCESSING", "read_checkpoint", "read_safetensors", "refused_classes", "some", "uncompiled"]

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
    _must_exist(path)
    try:
        with _harmless(path):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(f'"{path}" cannot be read as a checkpoint of tensors and plain data: {_why(error)}') from error
    if not isinstance(checkpoint, dict):
        raise UsageError(
            f'"{path}" holds a {type(checkpoint).__name__} and not a dictionary of tensors: save its state_dict().'
        )
    return checkpoint


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

    _must_exist(path)
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


def _must_exist(path: str | Path) -> None:
    path = Path(path)
    if not path.is_file():
        folder = path.parent
        near = did_you_mean(path.name, [p.name for p in folder.iterdir() if p.is_file()]) if folder.is_dir() else ""
        raise UsageError(f'there is no file "{path}".{near}')
