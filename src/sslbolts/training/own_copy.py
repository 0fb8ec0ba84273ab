"""Somebody's loader for a pass beside training: a copy of what it changes while it is read, and its random states."""

import copy
import io
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import BuiltinMethodType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from sslbolts._lightning import LightningDataModule, LightningModule, Trainer
from sslbolts.errors import UsageError

__all__ = ["fresh_draws", "own_copy"]

_LARGE = 2**20  # bytes
_LONG = 10_000  # entries
_STORES = ("h5py", "lmdb", "pandas", "polars", "pyarrow", "sqlite3", "tables", "tarfile", "zarr", "zipfile")
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type, ModuleType, torch.device, torch.dtype)


def own_copy(loader: Any) -> Any:
    """A loader whose reading changes nothing in the given one: counters, generators and caches are its own.

    Arrays from 1 MB and containers from 10,000 entries on, open files, archives, tables, the LightningModule and the
    Trainer are shared. What runs in worker processes has its own copy there, and an iterator can be read only once:
    both come back as they are.

    Args:
        loader: a DataLoader, or another iterable of batches.

    Raises:
        UsageError: if it holds an iterator that cannot be copied, so that reading takes from others.

    Example:
        >>> class Counted(list):
        ...     read = 0
        ...     def __getitem__(self, index):
        ...         self.read += 1
        ...         return super().__getitem__(index)
        >>> images = Counted([1, 2, 3])
        >>> list(own_copy(DataLoader(images, batch_size=3))), images.read
        ([tensor([1, 2, 3])], 0)
    """
    if hasattr(loader, "__next__") or getattr(loader, "num_workers", 0) > 0:
        return loader
    memo = {id(part): part for part in _parts(loader) if _is_shared(part)}
    if not isinstance(loader, DataLoader):
        return _copied(loader, memo)
    mine = copy.copy(loader)
    mine.__dict__["_iterator"] = None
    for name in ("dataset", "collate_fn", "sampler", "batch_sampler"):
        mine.__dict__[name] = _copied(getattr(loader, name), memo)
    return mine


@contextmanager
def fresh_draws(owner: Any) -> Iterator[None]:
    """All random generators in reach of an object from a fixed start; afterwards they, and open files, are as before.

    The training loader may share them.
    """
    states = [_state(part) for part in _parts(owner) if _is_random(part) or isinstance(part, io.IOBase)]
    try:
        for start, _ in states:
            start()
        yield
    finally:
        for _, back in states:
            back()


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy, in which things are shared that cannot be copied."""
    trial = dict(memo)  # of an attempt that fails, half-made copies are left
    try:
        mine = copy.deepcopy(value, trial)
        memo.update(trial)
        return mine
    except Exception as error:  # whatever a class says to it
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            mine = type(value)(_copied(item, memo) for item in value)
        elif type(value) is dict:
            mine = {key: _copied(item, memo) for key, item in value.items()}
        elif isinstance(value, Dataset):
            mine = object.__new__(type(value))
            memo[id(value)] = mine
            mine.__dict__.update({name: _copied(item, memo) for name, item in vars(value).items()})
        elif hasattr(value, "__next__") and not isinstance(value, io.IOBase):
            raise UsageError(
                f"a loader beside the training loader holds a {type(value).__name__} that cannot be copied ({error}), "
                "and reading from it would take from training: give that loader num_workers=1, which reads in a "
                "process of its own, or a dataset without it."
            ) from error
        else:
            mine = value
        memo[id(value)] = mine
        return mine


def _parts(root: Any) -> Iterator[Any]:
    """All that an object reaches by attributes, items, and what its functions close over, each once."""
    waiting, seen = [root], {}
    while waiting:
        value = waiting.pop()
        if isinstance(value, _ATOMS) or id(value) in seen:
            continue
        seen[id(value)] = value  # kept, so that no other object gets its id
        yield value
        if not (_is_shared(value) or _is_random(value)):
            waiting += _inside(value, seen)


def _inside(value: Any, seen: dict[int, Any]) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    found = list(value) if isinstance(value, list | tuple | set | frozenset | deque) else []
    if isinstance(value, MethodType | BuiltinMethodType):
        return [value.__self__, getattr(value, "__func__", None)]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        return [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *_global_generators(value)]
    for kind in type(value).__mro__:
        if id(kind) not in seen and not kind.__module__.startswith(("torch.", "builtins", "numpy", "sslbolts")):
            seen[id(kind)] = kind
            found += [part for part in vars(kind).values() if isinstance(part, FunctionType) or _is_random(part)]
        for name in vars(kind).get("__slots__", ()):
            found.append(getattr(value, name, None))
    return [*found, *getattr(value, "__dict__", {}).values()]


def _global_generators(function: FunctionType) -> list[Any]:
    names = function.__globals__
    return [names[name] for name in function.__code__.co_names if _is_random(names.get(name))]


def _is_shared(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return int(value.nbytes) >= _LARGE
    if isinstance(value, list | tuple | dict | set | frozenset | deque):
        return len(value) >= _LONG
    if type(value).__module__.partition(".")[0] in _STORES:
        return True
    return isinstance(value, LightningModule | LightningDataModule | Trainer | _BaseDataLoaderIter | io.IOBase)


def _is_random(value: Any) -> bool:
    kinds = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
    return isinstance(value, kinds) and not isinstance(value, random.SystemRandom)


def _state(value: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Two functions: start afresh, and go back to the present state."""
    if isinstance(value, torch.Generator):
        return partial(value.manual_seed, 0), partial(value.set_state, value.get_state())
    if isinstance(value, np.random.RandomState):
        return partial(value.seed, 0), partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return partial(value.seed, 0), partial(value.setstate, value.getstate())
    if isinstance(value, np.random.Generator):
        source: Any = value.bit_generator
        return partial(setattr, source, "state", type(source)(0).state), partial(setattr, source, "state", source.state)
    if not value.closed and value.seekable():
        return _nothing, partial(value.seek, value.tell())
    return _nothing, _nothing


def _nothing() -> None:
    pass
