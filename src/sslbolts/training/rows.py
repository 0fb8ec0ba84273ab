"""The rows of an evaluation that count, once each, on any number of ranks."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from sslbolts.batch import ViewBatch, indices_of
from sslbolts.distributed import all_sum, gather_ragged, padding_rows, rank, world_size
from sslbolts.errors import UsageError

__all__ = ["EvaluationRows", "first_loader", "length_of", "refuse_stream"]


class EvaluationRows:
    """The rows that this rank has seen of an evaluation loader, and which of them another rank, or this one, repeats.

    Samplers of several ranks repeat images so that all ranks have equally many. Repetitions are known by the order in
    which an unshuffled ``DistributedSampler`` deals images out. With another sampler they are known by the dataset
    index where batches carry one: of :class:`~sslbolts.batch.ViewBatch` always, and elsewhere where what might be an
    index repeats exactly as often as images must, since the third item of a batch may as well be the number of a
    patient.

    Args:
        loader: the evaluation loader.
    """

    def __init__(self, loader: Any) -> None:
        self._sampler = _distributed_sampler(loader)
        self._images = length_of(getattr(loader, "dataset", None))
        self._indices: list[Tensor | None] = []
        self._certain = True  # every batch was a ViewBatch
        self._repeated: list[Tensor] = []
        self._seen = 0

    def add(self, batch: Any, rows: int) -> None:
        """Count the next batch of this rank, of which ``rows`` rows were evaluated."""
        index = indices_of(batch)
        self._indices.append(index if index is not None and len(index) == rows else None)
        self._certain = self._certain and isinstance(batch, ViewBatch)
        if self._sampler is not None:
            self._repeated.append(padding_rows(self._seen, rows, len(self._sampler.dataset)))  # type: ignore[arg-type]
        self._seen += rows

    def first_seen(self, device: torch.device) -> Tensor:
        """``(rows of this rank,)`` bool: True where no earlier row, in rank order, shows the same image.

        All ranks must call it.
        """
        everything = torch.ones(self._seen, dtype=torch.bool, device=device)
        if world_size() == 1:
            return everything
        if self._sampler is not None:
            return ~torch.cat([*self._repeated, torch.empty(0, dtype=torch.bool)]).to(device)
        known = [index.to(device) for index in self._indices if index is not None]
        mine = torch.cat(known) if known else torch.empty(0, dtype=torch.int64, device=device)
        usable = len(mine) == self._seen and len(torch.unique(mine)) == len(mine)
        ranks, certain = all_sum(torch.tensor([int(usable), int(self._certain)], device=device)).tolist()
        if ranks < world_size():
            return everything
        everybody = gather_ragged(mine)
        owner = gather_ragged(torch.full_like(mine, rank()))
        order = everybody.argsort(stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[order[1:]] = everybody[order[1:]] != everybody[order[:-1]]
        if certain < world_size() and int((~first).sum()) != max(0, len(first) - (self._images or len(first))):
            return everything
        return first[owner == rank()]


def first_loader(loaders: Any) -> Any:
    """The first of a Trainer's evaluation loaders, which may be one, a list or a mapping; None if there is none."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        return first_loader(loaders[0]) if loaders else None
    return loaders


def _distributed_sampler(loader: Any) -> DistributedSampler[Any] | None:
    """The loader's sampler if it deals images out in order, to exactly the ranks that there are."""
    for source in (loader, getattr(loader, "batch_sampler", None)):
        sampler = getattr(source, "sampler", None)
        if isinstance(sampler, DistributedSampler) and not sampler.shuffle:
            return sampler if (sampler.rank, sampler.num_replicas) == (rank(), world_size()) else None
    return None


def length_of(dataset: Any) -> int | None:
    """Number of a dataset's items; None where it does not tell, in whichever way."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def refuse_stream(datamodule: Any, who: str) -> None:
    """Refuse a DataModule whose training images come as a stream, for what looks at single ones of them.

    Args:
        datamodule: of whatever kind, or None.
        who: looks at them.

    Raises:
        UsageError: if its images have no rows (``has_rows``).
    """
    if not getattr(datamodule, "has_rows", True):
        raise UsageError(
            f"{who} looks at single training images, and those of {type(datamodule).__name__} are a stream without row "
            "numbers: take DatasetDataModule or ImageFolderDataModule, or do without it."
        )
