"""Batches of which a fixed number of images is labeled, where few images are."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sslbolts.checks import whole
from sslbolts.data.sampler import BatchPlan, EpochSampler
from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator, mix

__all__ = ["MixedSampler", "check_mixture"]

_UNLABELED, _VIEWS, _LABELED = 0, 1, 4  # what a seed is for


class MixedSampler(EpochSampler):
    """Plans batches that begin with labeled images; the others are unlabeled.

    An epoch goes once through the unlabeled images. The labeled ones are a stream of their own, in which each comes
    once before any comes again, in another order every time, and which goes on from epoch to epoch. All of it is a pure
    function of (seed, batch of the run, rank, world size), as in :class:`~sslbolts.data.sampler.EpochSampler`.

    Args:
        labels: ``(N,)`` of all training images, -1 where an image has none.
        batch_size: images per batch and rank.
        labeled: of them with a label.
        seed: of the run.
        rank: of this process.
        world_size: number of processes.

    Raises:
        UsageError: if all images have a label, or none, or there are too few without.

    Source: the two streams are those of Tarvainen and Valpola, Mean Teachers are Better Role Models, NeurIPS 2017,
    arXiv:1703.01780, official code.

    Example:
        >>> sampler = MixedSampler(torch.tensor([5, -1, -1, 6, -1, -1]), 3, labeled=1, seed=0)
        >>> [len(plan.indices) for plan in sampler], all(int(plan.indices[0]) in (0, 3) for plan in sampler)
        ([3, 3], True)
    """

    def __init__(
        self, labels: Tensor, batch_size: int, *, labeled: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        check_mixture(labeled, batch_size)
        self.labeled = labeled
        self.with_label, self.without = (rows.nonzero().squeeze(1) for rows in (labels >= 0, labels < 0))
        needed = (batch_size - labeled) * world_size
        if not len(self.with_label):
            raise UsageError(
                f"labeled_batch_size={labeled}, but none of the {len(labels):,} training images is labeled."
            )
        if len(self.without) < needed:
            raise UsageError(
                f"labeled_batch_size={labeled} of batch_size={batch_size} leaves {needed:,} places in a batch for "
                f"unlabeled images, and {len(self.without):,} of {len(labels):,} training images are: give fewer "
                "labels with labels_fraction= or labels_per_class=, or leave labeled_batch_size out."
            )
        # Its batches are full, however few images there are: labeled ones come again.
        super().__init__(len(labels), batch_size, seed=seed, rank=rank, world_size=world_size, drop_last=False)
        self.drop_last = True

    def __len__(self) -> int:
        """Batches of an epoch, per rank."""
        return len(self.without) // ((self.batch_size - self.labeled) * self.num_replicas)

    def draw_evenly_over(self, labels: Tensor) -> bool:
        """Not done: which images a batch holds is settled."""
        return False

    def __iter__(self) -> Iterator[BatchPlan]:
        few, many = self.labeled, self.batch_size - self.labeled
        orders: dict[tuple[int, int], Tensor] = {}
        for position in range(self._start, self._start + (len(self) if self._count is None else self._count)):
            epoch, batch = divmod(position, len(self))
            first = (position * self.num_replicas + self.rank) * few
            last_turn = (first + few - 1) // len(self.with_label)
            turns = range(first // len(self.with_label), last_turn + 1)
            stream = torch.cat([self._shuffled(self.with_label, _LABELED, turn, orders) for turn in turns])
            labeled = stream[first % len(self.with_label) :][:few]
            start = (batch * self.num_replicas + self.rank) * many
            unlabeled = self._shuffled(self.without, _UNLABELED, epoch, orders)[start : start + many]
            yield BatchPlan(torch.cat([labeled, unlabeled]), mix(self.seed, _VIEWS, epoch, batch, self.rank))

    def _shuffled(self, rows: Tensor, stream: int, turn: int, orders: dict[tuple[int, int], Tensor]) -> Tensor:
        """The rows in the order of that turn, which is kept in ``orders`` until two turns later."""
        if (stream, turn) not in orders:
            orders.pop((stream, turn - 2), None)
            drawn = generator(self.seed, stream, turn)
            orders[stream, turn] = rows[torch.randperm(len(rows), generator=drawn)]
        return orders[stream, turn]


def check_mixture(labeled: int | None, batch_size: int, *, drop_last: bool = True) -> None:
    """Refuse a number of labeled images that is none of a part of a batch.

    Args:
        labeled: images of a batch that are labeled; None for any.
        batch_size: images of a batch.
        drop_last: whether batches that are not full are left out.

    Raises:
        UsageError: says what is wrong.
    """
    if labeled is None:
        return
    whole(labeled_batch_size=labeled)
    if labeled >= batch_size:
        raise UsageError(
            f"labeled_batch_size={labeled} of batch_size={batch_size} leaves no place for unlabeled images: give fewer."
        )
    if not drop_last:
        raise UsageError(f"labeled_batch_size={labeled} makes full batches alone: leave drop_last=False out.")
