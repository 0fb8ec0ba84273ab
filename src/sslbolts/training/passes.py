"""A pass of the network over a loader of one's own, which leaves no trace in the run."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    SequentialSampler,
    Subset,
)

from sslbolts._lightning import LightningModule, Trainer, lightning_module
from sslbolts.distributed import gather_ragged, rank, world_size
from sslbolts.errors import UsageError

__all__ = ["OwnLoader", "Pass", "isolated", "run_pass", "stratified", "undisturbed", "with_batches"]

_ROWS_PER_BATCH = 2**32  # more than any batch has
_NOT_MINE = -1


class OwnLoader:
    """The batches of a loader, dealt out to the ranks, each batch to one of them.

    A plain DataLoader over a map-style dataset is rebuilt with each rank's share of its batches, so each image is
    loaded once on all ranks together, and batches are the same for any number of ranks. Any other iterable is walked
    through by every rank, which takes its share of the batches.

    Args:
        loader: what gives batches.
        most_batches: stop after so many batches of all ranks together; None for all.
    """

    def __init__(self, loader: Any, *, most_batches: int | None = None) -> None:
        self.loader = loader
        self.most_batches = most_batches
        self._whole, self._plan = loader, _plan(loader)
        self._deal()

    @property
    def rebuilt(self) -> bool:
        """Whether it is a plain DataLoader, of which any images can be had in any batches."""
        return self._plan is not None

    @property
    def images(self) -> int | None:
        """How many images the loader gives; None where that is not known beforehand."""
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
        part = copy.copy(self)
        part._plan = [flat[start : start + size] for start in range(0, len(flat), size)]
        part._deal()
        return part

    def first(self, batches: int | None) -> "OwnLoader":
        """A loader that stops after so many batches of all ranks together; None for no limit."""
        part = copy.copy(self)
        part.most_batches = batches
        part._deal()
        return part

    def _deal(self) -> None:
        if self._plan is None:
            return
        plan = self._plan = self._plan[: self.most_batches]
        self._numbers = list(range(len(plan)))[rank() :: world_size()] or [_NOT_MINE] * bool(plan)
        self.loader = with_batches(self._whole, [plan[max(0, number)] for number in self._numbers])

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
            yield _NOT_MINE, spare

    def again(self, order: Tensor) -> Any:
        """Batches that hold the images of these rows and, of a loader that cannot be rebuilt, others as well.

        Args:
            order: ``(rows,)``, part of a pass's :attr:`Pass.order`.

        Yields:
            a batch, and pairs (place in ``order``, row of the batch). A single rank may call it.
        """
        wanted = [divmod(code, _ROWS_PER_BATCH) for code in order.tolist()]
        if self._plan is not None and getattr(self._whole.dataset, "leaves_out", False):
            numbers = sorted({number for number, _ in wanted})  # rows count what was read: batches are read whole again
            for number, batch in zip(
                numbers, with_batches(self._whole, [self._plan[n] for n in numbers], num_workers=0)
            ):
                yield batch, [(place, row) for place, (of, row) in enumerate(wanted) if of == number]
            return
        if self._plan is not None:
            rows = [self._plan[number][row] for number, row in wanted]
            alone = with_batches(self._whole, [rows], num_workers=0)
            yield next(iter(alone)), [(place, place) for place in range(len(rows))]
            return
        last = max(number for number, _ in wanted)
        with _own_draws(self._whole):
            for number, batch in zip(range(last + 1), self._whole):
                here = [(place, row) for place, (of, row) in enumerate(wanted) if of == number]
                if here:
                    yield batch, here


class Pass(NamedTuple):
    """What a pass has read.

    Attributes:
        features: one ``(rows, D)`` for each reader.
        targets: ``(rows,)``.
        order: ``(rows,)`` int64; sorted by it, rows of all ranks are in the loader's order.
    """

    features: list[Tensor]
    targets: Tensor
    order: Tensor

    def gathered(self) -> "Pass":
        """The rows of all ranks in the loader's order, the same for any number of ranks."""
        if world_size() == 1:
            return self
        order = gather_ragged(self.order)
        rows = order.argsort()
        # One after the other, so that only one of them is in memory twice.
        features = [gather_ragged(x)[rows] for x in self.features]
        return Pass(features, gather_ragged(self.targets)[rows], order[rows])


@torch.no_grad()
def run_pass(
    trainer: Trainer,
    module: LightningModule,
    loader: OwnLoader,
    *,
    readers: Sequence[Callable[[Any], Tensor]],
    targets: Callable[[Any], Tensor],
) -> Pass:
    """Walk this rank's share of a loader, batches moved and prepared as the Trainer does it in validation.

    Args:
        trainer: that runs.
        module: that it trains; in eval mode during the pass.
        loader: the batches.
        readers: each makes ``(B, D)`` of a prepared batch.
        targets: makes labels ``(B,)`` of it.
    """
    features: list[list[Tensor]] = [[] for _ in readers]
    labels, order = [], []
    with undisturbed(trainer, module), _own_draws(loader.loader):
        for number, batch in loader:
            batch = trainer.precision_plugin.convert_input(batch)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
            y = targets(batch).to(module.device)
            for rows, reader in zip(features, readers):
                rows.append(reader(batch))
                if len(rows[-1]) != len(y):
                    raise UsageError(f"a batch of the bank has {len(y)} labels but {len(rows[-1])} rows of features.")
            if number == _NOT_MINE:
                features, y = [[rows[-1][:0]] for rows in features], y[:0]
            labels.append(y)
            order.append(number * _ROWS_PER_BATCH + torch.arange(len(y), device=module.device))
    if not labels:
        raise UsageError("the loader of labelled images (the bank, or the queries) is empty.")
    return Pass([torch.cat(rows) for rows in features], torch.cat(labels), torch.cat(order))


@contextmanager
def isolated() -> Iterator[None]:
    """Random states from a fixed start, the same on every rank, and afterwards as they were before."""
    with lightning_module("utilities.seed").isolate_rng():
        torch.manual_seed(0)
        yield


@contextmanager
def undisturbed(trainer: Trainer, module: nn.Module) -> Iterator[None]:
    """The module in eval mode, the Trainer validating; afterwards modes, stage and random states are as before."""
    modes = {child: child.training for child in module.modules()}
    stage = trainer.state.stage
    try:
        # Nothing that loaders, workers or transforms draw may shift what training draws.
        with isolated():
            module.eval()
            trainer.state.stage = lightning_module("trainer.states").RunningStage.VALIDATING
            yield
    finally:
        trainer.state.stage = stage
        for child, mode in modes.items():
            child.training = mode


def _labels_of(dataset: Any) -> Tensor | None:
    """Labels of a dataset that has them as ``targets``, as ``labels`` or as the second tensor; else None.

    What is no list of integers, such as names of classes, is passed over.
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
                labels = torch.as_tensor(candidate)
            except (TypeError, ValueError, RuntimeError):
                continue
            if labels.ndim == 1 and not labels.is_floating_point() and len(labels) == len(dataset):
                return labels
    return None


def stratified(targets: Tensor, rows: int) -> Tensor:
    """Positions, in order, of ``rows`` labelled images, each class with its share of them; always the same ones.

    Example:
        >>> chosen = stratified(torch.tensor([0] * 90 + [1] * 10 + [-1] * 50), 20)
        >>> len(chosen), int((chosen >= 90).sum()), int((chosen >= 100).sum())
        (20, 2, 0)
    """
    targets = targets.cpu()
    shuffled = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    shuffled = shuffled[targets[shuffled] >= 0]
    by_class = [shuffled[targets[shuffled] == c] for c in torch.unique(targets[shuffled]).tolist()]
    # The i-th of a class's n images stands at (i + 1/2) / n: the first `rows` places have each class in proportion.
    places = torch.cat([(torch.arange(len(group)) + 0.5) / len(group) for group in by_class])
    return torch.cat(by_class)[places.argsort(stable=True)[:rows]].sort().values


def _plan(loader: Any) -> list[list[int]] | None:
    """The batches of a DataLoader as lists of dataset indices, the same on every rank; None where there are none."""
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    sampler: Any = loader.batch_sampler
    with isolated(), _own_draws(loader):
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


@contextmanager
def _own_draws(loader: Any) -> Iterator[None]:
    """Generators of a loader, its samplers and datasets from a fixed start, and afterwards as before.

    The training loader may share them.
    """
    generators = _generators(loader, set())
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(0)
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.set_state(state)


def _generators(owner: Any, visited: set[int]) -> list[torch.Generator]:
    found: list[torch.Generator] = []
    for value in getattr(owner, "__dict__", {}).values():
        if id(value) in visited:
            continue
        if isinstance(value, torch.Generator):
            found.append(value)
        elif isinstance(value, Sampler | Dataset):
            visited.add(id(value))
            found += _generators(value, visited)
    return found


def with_batches(
    loader: DataLoader[Any], batches: list[list[int]], *, num_workers: int | None = None
) -> DataLoader[Any]:
    """A loader that is as the given one, and gives these batches of its dataset; without worker processes if 0."""
    if num_workers == 0:
        return DataLoader(loader.dataset, batch_sampler=batches, collate_fn=loader.collate_fn)
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(0),
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )
