"""A digest of a data set, by which kept features are known to be of the same images."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from functools import cached_property
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbolts.data.apart import Apart

__all__ = ["fingerprint"]

_SAMPLED = 32  # items that are looked at as they come out
_NOTED = ("_bad", "_reported", "_block", "_ends")  # of files: what is noted while they are read, and their packed names
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object, in its repr: another one in every process


class _Unknown(Exception):
    """A value whose content cannot be told."""


def fingerprint(dataset: Any) -> str | None:
    """A digest of what is in a data set, equal for equal images; None where there is no telling.

    What its attributes hold counts whole: tensors, arrays and images by their values, files by path, size and time of
    their last change; so do the data sets that it is made of. Besides, 32 of its items count as they come out, which
    tells its transforms. Images that no attribute holds or names, such as those of a database, are known by these 32.

    Args:
        dataset: map-style.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> images = torch.zeros(1000, 3)
        >>> before = fingerprint(TensorDataset(images))
        >>> images[1] = 1
        >>> before == fingerprint(TensorDataset(images)), before == fingerprint(TensorDataset(torch.zeros(1000, 3)))
        (False, True)
    """
    found = hashlib.sha256()
    _add_attributes(found, dataset, set())
    count = len(dataset)
    for digest in Apart(_digest, dataset, range(0, count, max(1, count // _SAMPLED))):
        if digest is None:
            return None
        found.update(digest)
    return found.hexdigest()


def _digest(dataset: Any, row: int) -> bytes | None:
    """A digest of an item; None where there is no telling."""
    found = hashlib.sha256()
    try:
        _add(found, dataset[row])
    except _Unknown:
        return None
    return found.digest()


def _add_attributes(found: Any, dataset: Any, seen: set[int]) -> None:
    """Add what a data set holds. Attributes that cannot be read count by their description."""
    if id(dataset) in seen:
        return
    seen.add(id(dataset))
    found.update(type(dataset).__qualname__.encode())
    held = dict(getattr(dataset, "__dict__", {}))
    if isinstance(paths := getattr(dataset, "paths", None), list):  # the files, in whatever form they are held
        held["paths"] = paths
    for name, value in sorted(held.items()):
        if name in _NOTED or isinstance(getattr(type(dataset), name, None), cached_property):
            continue  # it comes with use, and says nothing of the images
        found.update(name.encode())
        for part in value if isinstance(value, list | tuple) and any(map(_is_dataset, value[:1])) else [value]:
            if _is_dataset(part):
                _add_attributes(found, part, seen)
                continue
            try:
                _add(found, part)
            except _Unknown:
                found.update(_ADDRESS.sub("", repr(part)).encode())


def _is_dataset(value: Any) -> bool:
    plain = isinstance(value, list | tuple | str | bytes | Mapping | Tensor | np.ndarray | range)
    return (
        not plain
        and not hasattr(value, "to_numpy")
        and hasattr(value, "__len__")
        and (hasattr(value, "__getitem__") or hasattr(value, "read"))
    )


def _add(found: Any, value: Any) -> None:
    """One value, with its type and form.

    Raises:
        _Unknown: for a type that says nothing of its content.
    """
    found.update(f"\n{type(value).__name__} ".encode())
    if isinstance(value, Tensor):
        found.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "S":  # names, where there are very many
        _add(found, [os.fsdecode(name) for name in value.reshape(-1)])
    elif isinstance(value, np.ndarray) and value.dtype.kind not in "OU":
        found.update(f"{value.dtype} {value.shape} ".encode())
        found.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, str | Path):
        found.update(_named(value).encode("utf-8", "surrogateescape"))
    elif isinstance(value, bytes):
        found.update(value)
    elif value is None or isinstance(value, Number | np.generic | range | torch.Size):
        found.update(str(value).encode())
    elif isinstance(value, Mapping):
        for name in value:
            _add(found, name)
            _add(found, value[name])
    elif hasattr(value, "to_numpy"):  # a table of pandas
        _add(found, value.to_numpy())
    elif isinstance(value, list | tuple | np.ndarray):
        found.update(f"{len(value)} ".encode())
        for part in value:
            _add(found, part)
    elif hasattr(value, "tobytes") and hasattr(value, "mode"):  # an image of PIL
        found.update(f"{value.mode} {value.size} ".encode())
        found.update(value.tobytes())
    else:
        raise _Unknown


def _named(name: str | Path) -> str:
    """Place, size and time of a file, whatever folder its name starts from; a folder's place; else the name.

    The time of a folder is that of the last file that came into it, which may be nobody's image.
    """
    try:
        known = os.stat(name)
    except (OSError, ValueError):
        return str(name)
    if stat.S_ISDIR(known.st_mode):
        return os.path.abspath(name)
    return f"{os.path.abspath(name)} {known.st_size} {known.st_mtime_ns}"
