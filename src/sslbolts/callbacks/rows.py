"""Which rows of an evaluation count, once each, on however many ranks."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from sslbolts.callbacks.batches import indices_of
from sslbolts.distributed import all_sum, gather_ragged, padding_rows, rank, world_size

__all__ = ["EvaluationRows", "first_loader"]


class EvaluationRows:
    """The rows that this rank has seen of an evaluation loader, and which of them another rank, or this one, repeats.

    Samplers of several ranks repeat images so that all ranks have equally many. Repetitions are known by the dataset
    index where batches carry one, and else by the order in which a ``DistributedSampler`` deals images out.

    Args:
        loader: the evaluation loader.
    """

    def __init__(self, loader: Any) -> None:
        self._sampler = _distributed_sampler(loader)
        self._indices: list[Tensor | None] = []
        self._repeated: list[Tensor] = []
        self._seen = 0

    def add(self, batch: Any, rows: int) -> None:
        """Count the next batch of this rank, of which ``rows`` rows were evaluated."""
        index = indices_of(batch)
        self._indices.append(index if index is not None and len(index) == rows else None)
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
        known = [index.to(device) for index in self._indices if index is not None]
        mine = torch.cat(known) if known else torch.empty(0, dtype=torch.int64, device=device)
        # A third item of a batch that repeats within a rank is something else than an index.
        usable = len(mine) == self._seen and len(torch.unique(mine)) == len(mine)
        if int(all_sum(torch.tensor(int(usable), device=device))) == world_size():
            everybody = gather_ragged(mine)
            owner = gather_ragged(torch.full_like(mine, rank()))
            order = everybody.argsort(stable=True)
            first = torch.ones_like(order, dtype=torch.bool)
            first[order[1:]] = everybody[order[1:]] != everybody[order[:-1]]
            return first[owner == rank()]
        if self._sampler is not None:
            return ~torch.cat([*self._repeated, torch.empty(0, dtype=torch.bool)]).to(device)
        return everything


def first_loader(loaders: Any) -> Any:
    """The first of a Trainer's evaluation loaders, which may be one, a list or a mapping; None if there is none."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        return first_loader(loaders[0]) if loaders else None
    return loaders


def _distributed_sampler(loader: Any) -> DistributedSampler[Any] | None:
    for source in (loader, getattr(loader, "batch_sampler", None)):
        sampler = getattr(source, "sampler", None)
        if isinstance(sampler, DistributedSampler) and not sampler.shuffle:
            return sampler
    return None
