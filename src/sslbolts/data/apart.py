"""Items of a dataset that are looked at without a trace in it."""

import io
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sslbolts.data.workers import are_forked, worker_settings
from sslbolts.errors import UsageError

__all__ = ["Apart"]

T = TypeVar("T")
_PATIENCE = 60  # seconds that an item may take in another process


class Apart(Generic[T]):
    """The answers of a function to the rows of a dataset, from a process of their own: the dataset here stays as it is.

    A dataset may open a file when its first item is read. Worker processes that are forked later would share that file,
    and the one position in it at which all of them read: wrong images, and no word about it. So a forked process reads.
    Where workers are not forked, they get a pickled copy of the dataset, which an open file would not allow: there such
    a copy is read. Where neither can be (images on a GPU, an object that cannot be copied), and for tensors, the
    dataset itself is read.

    Args:
        make: gives of ``(dataset, row)`` what is wanted: numbers, arrays and the like, which are cheap to send.
        dataset: whose items are read.
        rows: which of them, in the terms of the dataset.
        at_a_time: answers that are sent together.

    Raises:
        UsageError: that ``make`` raised.

    Example:
        >>> class Lazy(list):
        ...     def __getitem__(self, row):
        ...         self.opened = True
        ...         return super().__getitem__(row)
        >>> dataset = Lazy([3, 4, 5])
        >>> list(Apart(lambda given, row: given[row] + 1, dataset, [2, 0])), hasattr(dataset, "opened")
        ([6, 4], False)
    """

    def __init__(self, make: Callable[[Any, Any], T], dataset: Any, rows: Iterable[Any], *, at_a_time: int = 1) -> None:
        self.make = make
        self.dataset = dataset
        self.rows = rows if isinstance(rows, Sized) else list(rows)
        self.at_a_time = at_a_time

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[T]:
        process, dataset = None, self.dataset
        if not _is_held(dataset):
            process, dataset = (self._process(), dataset) if are_forked() else (None, _copy(dataset))
        try:
            for row in self.rows:
                if process is not None:
                    try:
                        made = next(process)
                    except Exception:  # what the process could not do, for whatever reason, is done here
                        process = None
                if process is None:
                    made = _made(self.make, dataset, row)
                if isinstance(made, UsageError):
                    raise made
                yield made
        finally:
            if process is not None:  # else it would last as long as the traceback of an error
                process.close()

    def _process(self) -> Generator[Any]:
        """The answers of a process, which is started when the first is asked for."""
        answers = DataLoader(
            _Answers(self.make, self.dataset),
            batch_size=self.at_a_time,
            sampler=self.rows,
            collate_fn=_as_it_is,
            timeout=_PATIENCE * self.at_a_time,
            **worker_settings(1),
            generator=torch.Generator().manual_seed(torch.initial_seed()),  # draws nothing from that of the run
        )
        yield from chain.from_iterable(answers)


class _Answers(Dataset[Any]):
    def __init__(self, make: Callable[[Any, Any], Any], dataset: Any) -> None:
        self.make = make
        self.dataset = dataset

    def __getitem__(self, row: Any) -> Any:
        return _made(self.make, self.dataset, row)


def _made(make: Callable[[Any, Any], Any], dataset: Any, row: Any) -> Any:
    """The answer; a user's mistake as a value, since a DataLoader would put the worker's traceback into its message."""
    try:
        return make(dataset, row)
    except UsageError as error:
        return error


def _as_it_is(answers: Any) -> Any:
    return answers


def _is_held(dataset: Any) -> bool:
    """True for tensors in memory, seen through what torch or this package wraps them in."""
    while type(dataset).__module__.startswith(("torch.utils.data.", "sslbolts.data.")):
        if type(dataset) is TensorDataset or isinstance(getattr(dataset, "data", None), Tensor):
            return True
        dataset = getattr(dataset, "dataset", getattr(dataset, "images", None))
    return False


def _copy(dataset: Any) -> Any:
    """A copy as a worker process would get it, but for tensors and arrays, which are shared; else the dataset."""
    shared: list[Any] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            if not isinstance(value, Tensor | np.ndarray):
                return None
            shared.append(value)
            return len(shared) - 1

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> Any:
            return shared[number]

    file = io.BytesIO()
    try:
        Pickler(file).dump(dataset)
        file.seek(0)
        return Unpickler(file).load()
    except Exception:  # whatever its items are made of
        return dataset
