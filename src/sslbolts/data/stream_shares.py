"""Streams of images, divided among the processes and workers that read them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import IterableDataset

from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator
from sslbolts.training.undisturbed import environment_kept

__all__ = ["Share", "SplitBy", "check_stream", "engine_of", "share_of", "shuffled", "useful_workers"]

SplitBy = Literal["items", "itself"]
Engine = Literal["datasets", "litdata", "webdataset", "torch"]
_BUFFER = 5  # what a seed is for


class Share(NamedTuple):
    """The reader of a part of a stream.

    Attributes:
        rank: of the process.
        world_size: number of processes.
        worker: of the loader.
        workers: number of workers, at least 1.
    """

    rank: int
    world_size: int
    worker: int
    workers: int


def engine_of(stream: Any) -> Engine:
    """The library that a stream is of; "torch" for any other ``IterableDataset``."""
    for kind in type(stream).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in ("datasets", "litdata", "webdataset"):
            return package  # type: ignore[return-value]
    return "torch"


def useful_workers(stream: Any, workers: int, *, world_size: int) -> int:
    """As many workers as can have a share: a stream of Hugging Face gives each of them whole shards."""
    if engine_of(stream) != "datasets":
        return workers
    shards = int(stream.num_shards if hasattr(stream, "num_shards") else stream.n_shards)  # the older name
    return min(workers, shards // world_size if shards % world_size == 0 else shards)


def share_of(stream: Any, share: Share, *, split_by: SplitBy, epoch: int) -> Iterator[Any]:
    """The items of a reader's share in an epoch: all shares together have each item once.

    Args:
        stream: an iterable dataset.
        share: whose.
        split_by: "items": every reader goes through the stream, and keeps every n-th item. "itself": the stream gives
            each reader its part, as Hugging Face's and litdata's do, and pipelines of webdataset that split by node
            and worker.
        epoch: which is told to a stream that has ``set_epoch``.
    """
    engine = engine_of(stream)
    if split_by == "itself" and engine == "datasets" and share.world_size > 1:
        from datasets.distributed import split_dataset_by_node

        stream = split_dataset_by_node(stream, rank=share.rank, world_size=share.world_size)
    if hasattr(stream, "set_epoch"):  # after the division, whose result knows no epoch
        stream.set_epoch(epoch)
    if split_by == "items":
        readers = share.world_size * share.workers
        mine = share.rank * share.workers + share.worker
        yield from (item for number, item in enumerate(stream) if number % readers == mine)
        return
    if engine == "litdata":  # which asks a process group for its place, and a worker may have none
        from litdata.utilities.env import _DistributedEnv

        stream.distributed_env = _DistributedEnv(share.world_size, share.rank, stream.distributed_env.num_nodes)
    # No "for" and no "yield from": litdata's stream is its own iterator, and would begin again.
    items, end = iter(stream), object()
    with _environment(share):  # its place is asked for with the first item
        item = next(items, end)
    while item is not end:
        yield item
        item = next(items, end)


@contextmanager
def _environment(share: Share) -> Iterator[None]:
    """Rank and world size where webdataset looks for them first; a worker process has no process group."""
    places = {"RANK": str(share.rank), "WORLD_SIZE": str(share.world_size)}
    with environment_kept(*places):
        os.environ.update(places)
        yield


def shuffled(items: Iterator[Any], size: int, *, seed: int, epoch: int, share: Share) -> Iterator[Any]:
    """The items through a buffer, out of which they come at random.

    Args:
        items: of a share.
        size: of the buffer, items; 0 leaves them in order.
        seed: of the run.
        epoch: of the run.
        share: whose items they are.

    Example:
        >>> given = shuffled(iter(range(6)), 3, seed=0, epoch=0, share=Share(0, 1, 0, 1))
        >>> sorted(given)
        [0, 1, 2, 3, 4, 5]
    """
    drawn = generator(seed, _BUFFER, epoch, share.rank, share.worker)
    buffer: list[Any] = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        if size == 0:
            yield item
            continue
        place = int(torch.randint(size, (), generator=drawn))
        item, buffer[place] = buffer[place], item
        yield item
    for place in torch.randperm(len(buffer), generator=drawn).tolist():
        yield buffer[place]


def check_stream(stream: Any) -> None:
    """Refuses what is no stream.

    Raises:
        UsageError: that says which DataModule is for it.
    """
    if not isinstance(stream, IterableDataset) and engine_of(stream) == "torch":
        kind = type(stream).__name__
        advice = "DatasetDataModule is for it" if hasattr(stream, "__getitem__") else "wrap it in one"
        raise UsageError(f"train={kind} must be an IterableDataset, a stream without row numbers: {advice}.")
