"""A loader's batches dealt out to the ranks, for a pass beside training."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, SequentialSampler, Subset

from sslbolts.class_labels import as_labels
from sslbolts.distributed import rank, world_size
from sslbolts.errors import UsageError
from sslbolts.training.undisturbed import isolated, own_draws

__all__ = ["NOT_MINE", "ROWS_PER_BATCH", "OwnLoader", "with_batches"]

ROWS_PER_BATCH = 2**32
"""More than any batch has: row `r` of batch `n` stands at place ``n * ROWS_PER_BATCH + r`` of a pass."""

NOT_MINE = -1
"""Number of a batch that a rank sees only to know what features look like."""


class OwnLoader:
    """The batches of a loader, dealt out to the ranks, each batch to one of them.

    A plain DataLoader over a map-style dataset is rebuilt with each rank's share of its batches, so each image is
    loaded once on all ranks together, and batches are the same for any number of ranks. Any other iterable is walked
    through by every rank, which takes its share of the batches.

    Args:
        loader: what gives batches.
        most_batches: stop after so many batches of all ranks together; None for all.
        plan: batches to give in place of the DataLoader's own, as lists of dataset indices.
    """

    def __init__(self, loader: Any, *, most_batches: int | None = None, plan: list[list[int]] | None = None) -> None:
        self.loader = self._whole = loader
        self.most_batches = most_batches
        self._plan = _plan(loader) if plan is None else plan
        if self._plan is not None:
            self._plan = self._plan[:most_batches]
            self._numbers = list(range(len(self._plan)))[rank() :: world_size()] or [NOT_MINE] * bool(self._plan)
            self.loader = with_batches(loader, [self._plan[max(0, number)] for number in self._numbers])

    @property
    def rebuilt(self) -> bool:
        """True for a plain DataLoader, of which any images can be had in any batches."""
        return self._plan is not None

    @property
    def images(self) -> int | None:
        """Number of images that the loader gives; None where that is not known beforehand."""
        return None if self._plan is None else sum(len(batch) for batch in self._plan)

    def labels(self) -> Tensor | None:
        """Labels of all images in the order in which they are given, if they are known without loading images."""
        labels = None if self._plan is None else _labels_of(self._whole.dataset)
        return None if self._plan is None or labels is None else labels[[i for batch in self._plan for i in batch]]

    def only(self, rows: Tensor) -> "OwnLoader":
        """A loader of the images at these places of the order alone; of one that cannot be rebuilt, itself."""
        if self._plan is None:
            return self
        flat = torch.tensor([index for batch in self._plan for index in batch])[rows].tolist()
        size = max(len(batch) for batch in self._plan)
        plan = [flat[start : start + size] for start in range(0, len(flat), size)]
        return OwnLoader(self._whole, most_batches=self.most_batches, plan=plan)

    def first(self, batches: int | None) -> "OwnLoader":
        """A loader that stops after so many batches of all ranks together; None for no limit."""
        return OwnLoader(self._whole, most_batches=batches, plan=self._plan)

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Number of the batch among those of all ranks, and the batch.

        A rank for which there is none gets one that is not its own, numbered -1: it shows what features look like.
        """
        if self.rebuilt:
            yield from zip(self._numbers, self.loader)
            return
        spare = None
        for number, batch in enumerate(self.loader):
            if self.most_batches is not None and number >= self.most_batches:
                break
            if number % world_size() == rank():
                yield number, batch
            elif number == 0:
                spare = batch
        if spare is not None and number < rank():
            yield NOT_MINE, spare

    def again(self, order: Tensor) -> Any:
        """Batches that hold the images of these rows and, of a loader that cannot be rebuilt, others as well.

        Args:
            order: ``(rows,)``, part of a pass's :attr:`Pass.order`.

        Yields:
            a batch, and pairs (place in ``order``, row of the batch). A single rank may call it.
        """
        wanted = [divmod(code, ROWS_PER_BATCH) for code in order.tolist()]
        if self._plan is not None and getattr(self._whole.dataset, "leaves_out", False):
            numbers = sorted({number for number, _ in wanted})  # rows count what was read: batches are read whole again
            for number, batch in zip(
                numbers, with_batches(self._whole, [self._plan[n] for n in numbers], one_pass=True)
            ):
                yield batch, [(place, row) for place, (of, row) in enumerate(wanted) if of == number]
            return
        if self._plan is not None:
            rows = [self._plan[number][row] for number, row in wanted]
            alone = with_batches(self._whole, [rows], one_pass=True)
            yield next(iter(alone)), [(place, place) for place in range(len(rows))]
            return
        last = max(number for number, _ in wanted)
        with own_draws(self._whole):
            for number, batch in zip(range(last + 1), self._whole):
                here = [(place, row) for place, (of, row) in enumerate(wanted) if of == number]
                if here:
                    yield batch, here


def with_batches(loader: DataLoader[Any], batches: list[list[int]], *, one_pass: bool = False) -> DataLoader[Any]:
    """A loader that is as the given one, and gives these batches of its dataset.

    Args:
        loader: the given one.
        batches: lists of dataset indices.
        one_pass: there will be no other: where there are worker processes, a single one is started, and not kept. (Were
            the images read in this process, later workers would share the files that the dataset opens for them.)
    """
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=min(loader.num_workers, 1) if one_pass else loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(0),
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers and not one_pass,
    )


def _plan(loader: Any) -> list[list[int]] | None:
    """The batches of a DataLoader as lists of dataset indices, the same on every rank; None where there are none."""
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    sampler: Any = loader.batch_sampler
    with isolated(), own_draws(loader):
        if isinstance(loader.sampler, DistributedSampler) and type(sampler) is BatchSampler:  # a share, padded: undo it
            sampler = BatchSampler(_before_sharing(loader), sampler.batch_size, drop_last=False)
        return [list(batch) for batch in sampler]


def _before_sharing(loader: DataLoader[Any]) -> Any:
    """The order of a loader's images before a ``DistributedSampler`` dealt them out to the ranks."""
    shared: Any = loader.sampler.dataset  # type: ignore[attr-defined]
    if shared is loader.dataset or not hasattr(shared, "reset"):
        return SequentialSampler(loader.dataset)  # type: ignore[arg-type]
    # Lightning shares out any other sampler as a dataset of its indices, which reset() draws anew; someone may be
    # reading from it.
    shared = copy.copy(shared)
    shared.reset()
    return [shared[place] for place in range(len(shared))]


def _labels_of(dataset: Any) -> Tensor | None:
    """Labels of a dataset that has them as ``targets``, as ``labels`` or as the second tensor; else None.

    What are no labels, such as names of classes, is passed over.
    """
    if isinstance(dataset, Subset):
        labels = _labels_of(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(dataset.indices)]
    tensors: Any = getattr(dataset, "tensors", None) or ()
    inner = getattr(dataset, "images", None)  # sslbolts.data's datasets wrap where images come from
    for candidate in (
        getattr(dataset, "targets", None),
        getattr(dataset, "labels", None),
        getattr(inner, "targets", None),
        tensors[1] if len(tensors) > 1 else None,
    ):
        if candidate is not None:
            try:
                labels = as_labels(candidate)
            except (TypeError, UsageError):
                continue
            if len(labels) == len(dataset):
                return labels
    return None
