"""A loader's batches dealt out to the ranks, for a pass beside training."""

import copy
import hashlib
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, SequentialSampler, Subset

from sslbolts.checks.labels import as_labels
from sslbolts.distributed import gather_objects, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.training.own_copy import fresh_draws, own_copy
from sslbolts.training.rows import length_of
from sslbolts.training.undisturbed import isolated

__all__ = ["NOT_MINE", "ROWS_PER_BATCH", "OwnLoader", "with_batches"]

ROWS_PER_BATCH = 2**32
"""More than any batch has: row `r` of batch `n` stands at place ``n * ROWS_PER_BATCH + r`` of a pass."""

_ROUNDS = 100  # of a sampler through its dataset, after which it is taken for one that does not end

NOT_MINE = -1
"""Number of a batch that a rank sees only to know what features look like."""


class OwnLoader:
    """The batches of a loader, dealt out to the ranks, each batch to one of them.

    A plain DataLoader over a map-style dataset is rebuilt with each rank's share of its batches, so each image is
    loaded once on all ranks together, and batches are the same for any number of ranks. Where a sampler has dealt the
    images out already, its batches of all ranks are put together first, each image once. Any other iterable is walked
    through by every rank, which takes its share of the batches; but all of them where the ranks' first batches, or
    datasets, differ, since then each has a share already. Nothing of the given loader is changed by reading.

    All ranks must make it, unless ``plan`` is given.

    Args:
        loader: what gives batches.
        most_batches: stop after so many batches of all ranks together; None for all.
        plan: batches to give in place of the DataLoader's own, as lists of dataset indices.

    Raises:
        UsageError: if the loader's sampler does not end, and nothing limits the batches.
    """

    def __init__(self, loader: Any, *, most_batches: int | None = None, plan: list[list[int]] | None = None) -> None:
        self.loader = self._whole = loader = own_copy(loader)
        self.most_batches = most_batches
        self._dealt = False  # each rank has a share of its own
        self._plan = plan
        if plan is None:
            self._plan, self._dealt = _agreed(loader, _plan(loader, most_batches))
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
        if self._plan is not None:
            return OwnLoader(self._whole, most_batches=batches, plan=self._plan)
        first = copy.copy(self)
        first.most_batches = batches
        return first

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
        if self._dealt:
            most = None if self.most_batches is None else -(-self.most_batches // world_size())
            for number, batch in enumerate(islice(self.loader, most)):
                yield number * world_size() + rank(), batch
            return
        spare = None
        for number, batch in enumerate(islice(self.loader, self.most_batches)):
            if number % world_size() == rank():
                yield number, batch
            elif number == 0:
                spare = batch
        if spare is not None and number < rank():
            yield NOT_MINE, spare

    def again(self, order: Tensor) -> Any:
        """Batches that hold the images of these rows and, of a loader that cannot be rebuilt, others as well.

        Args:
            order: ``(rows,)``, part of a pass's ``Pass.order``.

        Yields:
            a batch, and pairs (place in ``order``, row of the batch). A single rank may call it.
        """
        if self._dealt:
            raise UsageError("each rank has labeled images of its own, and one alone cannot show those of others.")
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
        with fresh_draws(self._whole):
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


def _plan(loader: Any, most: int | None) -> list[list[int]] | None:
    """The batches of a DataLoader as lists of dataset indices, at most so many; None where there are none."""
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    sampler: Any = loader.batch_sampler
    with isolated(), fresh_draws(loader):
        if isinstance(loader.sampler, DistributedSampler) and type(sampler) is BatchSampler:  # a share, padded: undo it
            sampler = BatchSampler(_before_sharing(loader), sampler.batch_size, drop_last=False)
        plan: list[list[int]] = []
        images, enough = 0, _ROUNDS * ((length_of(loader.dataset) or 0) + 1)
        for batch in islice(sampler, most):
            plan.append(list(batch))
            images += len(plan[-1])
            if images > enough and most is None:
                raise UsageError(
                    f"the sampler {type(loader.sampler).__name__} of a labeled loader has given each image "
                    f"{_ROUNDS} times and does not end: give that loader another sampler."
                )
    return plan


def _agreed(loader: Any, plan: list[list[int]] | None) -> tuple[list[list[int]] | None, bool]:
    """The plan of all ranks together, if they have one, and whether each rank has a share of its own without any."""
    if world_size() == 1:
        return plan, False
    plans, identities = zip(*gather_objects((plan, _identity(loader, plan))))
    if any(identity != identities[0] for identity in identities):
        return None, True
    if plan is None or all(other == plans[0] for other in plans):
        return plan, False
    seen: set[int] = set()  # a sampler has dealt images of one dataset out, and may have repeated some
    batches = chain.from_iterable(zip_longest(*plans, fillvalue=[]))
    unique = [[i for i in batch if not (i in seen or seen.add(i))] for batch in batches]  # type: ignore[func-returns-value]
    return [batch for batch in unique if batch], False


def _identity(loader: Any, plan: list[list[int]] | None) -> str:
    """A digest of a loader's dataset, as far as it is known without loading, or else of the first batch."""
    digest = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value[[0, -1]].cpu().float().numpy().tobytes() if value.ndim and len(value) else b"")
        elif isinstance(value, dict):
            take(list(value.values()))
        elif isinstance(value, list | tuple):
            digest.update(str(len(value)).encode())
            for item in value[:8]:
                take(item)
        elif isinstance(value, str | int | float):
            digest.update(repr(value).encode())

    if plan is None and hasattr(loader, "__next__"):
        return ""  # it can be read only once
    if plan is None:
        with isolated(), fresh_draws(loader):
            take(next(iter(loader), None))
        return digest.hexdigest()
    dataset: Any = loader.dataset
    labels = _labels_of(dataset)
    take([length_of(dataset), list(getattr(dataset, "tensors", ()))])
    digest.update(repr([] if labels is None else labels.tolist()).encode())
    while isinstance(dataset, Subset):
        digest.update(repr(list(dataset.indices)).encode())
        dataset = dataset.dataset
    for name in ("samples", "imgs", "files", "paths"):
        take(getattr(dataset, name, None))
    return digest.hexdigest()


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
