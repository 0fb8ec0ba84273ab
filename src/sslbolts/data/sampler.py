"""The images and the seed of every batch of every epoch on every rank."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator, mix

__all__ = ["BatchPlan", "EpochSampler", "OrderedEpochSampler", "even_draws", "weighted_draws"]

_ORDER, _VIEWS = 0, 1  # what a seed is for


class BatchPlan(NamedTuple):
    """The rows and the seed that a batch is made from.

    Attributes:
        indices: ``(B,)`` int64 rows of the dataset.
        seed: everything that is drawn for the batch is drawn from it.
    """

    indices: Tensor
    seed: int


class EpochSampler(DistributedSampler[BatchPlan]):
    """Plans the batches of one rank: a pure function of (seed, epoch, rank, world size).

    The images of an epoch are shuffled once for all ranks; global batch ``b`` is the ``b``-th slice of them, and each
    rank takes its share of that slice, in rank order. It is a ``DistributedSampler`` so that Lightning neither
    replaces nor wraps it, and calls :meth:`set_epoch`.

    Args:
        images: number of images in the dataset.
        batch_size: images per batch and rank.
        seed: of the run.
        rank: of this process.
        world_size: number of processes.
        shuffle: whether the order changes from epoch to epoch; else it is the dataset's.
        drop_last: leave out the last images of an epoch that do not fill a global batch. Otherwise the last batch is
            smaller, of one size on all ranks: where it does not divide, fewer than ``world_size`` images come twice.

    Raises:
        UsageError: with ``drop_last``, if there are fewer images than a global batch takes.

    Example:
        >>> sampler = EpochSampler(10, batch_size=4, seed=0)
        >>> [len(plan.indices) for plan in sampler]
        [4, 4]
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        super().__init__(
            range(images),  # type: ignore[arg-type]  # only its length matters
            num_replicas=world_size,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
        )
        if drop_last and images < batch_size * world_size:
            devices = f" x {world_size} devices" if world_size > 1 else ""
            raise UsageError(
                f"the training set has {images:,} images, but one batch takes {batch_size * world_size:,} "
                f"(batch_size={batch_size}{devices}) and drop_last leaves incomplete batches out: "
                f"give batch_size={images // world_size} or less, or drop_last=False."
            )
        self.images = images
        self.batch_size = batch_size
        self._labels: Tensor | None = None  # over which images are drawn evenly
        self._weights: Tensor | None = None  # by which images are drawn
        self._start = 0  # batch of the run with which the next iteration begins
        self._count: int | None = None  # batches of the next iteration; None is one epoch's

    @property
    def last_batch(self) -> int:
        """Images in the last batch of an epoch, per rank."""
        over = 0 if self.drop_last else self.images % (self.batch_size * self.num_replicas)
        return -(-over // self.num_replicas) or self.batch_size

    def __len__(self) -> int:
        """Batches of an epoch, per rank."""
        per_batch = self.batch_size * self.num_replicas
        return self.images // per_batch if self.drop_last else -(-self.images // per_batch)

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that epoch."""
        super().set_epoch(epoch)
        self._start, self._count = epoch * len(self), None

    def go_on(self, done: int, done_in_epoch: int) -> None:
        """The next iteration is the rest of an epoch.

        Args:
            done: batches of the run so far. The batches of all epochs are one stream, which goes on there.
            done_in_epoch: batches of the current epoch so far; the iteration gives the others.
        """
        self._start, self._count = done, len(self) - done_in_epoch % len(self)

    def draw_evenly_over(self, labels: Tensor) -> bool:
        """From the next iteration on, draw every label's images equally often, see :func:`even_draws`.

        An epoch stays as long as it was; some of its images come several times, and some not at all.

        Args:
            labels: ``(images,)``, equal on all ranks.

        Returns:
            whether it is done: not where every epoch has the dataset's order.

        Raises:
            UsageError: for another number of labels than there are images.
        """
        if len(labels) != self.images:
            raise UsageError(f"{len(labels):,} labels were given to draw from {self.images:,} images evenly.")
        if self.shuffle:
            self._labels = labels.detach().cpu().clone()
        return self.shuffle

    def draw_by(self, weights: Tensor) -> None:
        """From the next iteration on, draw images by weights, see :func:`weighted_draws`.

        Args:
            weights: ``(images,)``, equal on all ranks.

        Raises:
            UsageError: for another number of weights than there are images.
        """
        if len(weights) != self.images:
            raise UsageError(f"{len(weights):,} weights were given to draw {self.images:,} images by.")
        self._weights = weights

    def __iter__(self) -> Iterator[BatchPlan]:
        order = torch.empty(0)
        shuffled = -1
        for position in range(self._start, self._start + (len(self) if self._count is None else self._count)):
            epoch, batch = divmod(position, len(self))
            if epoch != shuffled:
                order, shuffled = self._order(epoch), epoch
            start = batch * self.batch_size * self.num_replicas
            rows = min(self.batch_size, -(-(self.images - start) // self.num_replicas))
            mine = torch.arange(start + self.rank * rows, start + (self.rank + 1) * rows) % self.images
            yield BatchPlan(order[mine], mix(self.seed, _VIEWS, epoch, batch, self.rank))

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.images)
        drawn = generator(self.seed, _ORDER, epoch)
        if self._labels is not None:
            return even_draws(self._labels, drawn)
        if self._weights is not None:
            return weighted_draws(self._weights, drawn)
        return torch.randperm(self.images, generator=drawn)


class OrderedEpochSampler(EpochSampler, SequentialSampler):  # type: ignore[misc]
    """An :class:`EpochSampler` whose every epoch begins with the same batches, of a type that says so.

    Lightning's ``overfit_batches``, which takes only the first batches of an epoch, looks for that type.
    """

    def go_on(self, done: int, done_in_epoch: int) -> None:
        """The next iteration is the rest of the epoch that :meth:`set_epoch` named."""
        super().go_on(self.epoch * len(self) + done_in_epoch, done_in_epoch)


def even_draws(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many images as there are, drawn uniformly over labels: each label's equally often, as far as it divides.

    Of a label with more images than draws some are left out; those of one with fewer come again and again, all of them
    equally often but for one time. Their order is random.

    Args:
        labels: ``(N,)`` integers on the CPU; an image with a negative one is never drawn, unless all have one.
        generator: on the CPU; the same draws for the same state.

    Returns:
        ``(N,)`` int64 rows.

    Source: how Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018,
    arXiv:1807.05520, section 3.3, keep large clusters from ruling the training.

    Example:
        >>> rows = even_draws(torch.tensor([7, 7, 7, 7, 7, 2]), torch.Generator().manual_seed(0))
        >>> int((rows == 5).sum()), len(rows.unique())  # three of the five images labeled 7, and thrice the other
        (3, 4)
    """
    count = len(labels)
    shuffled = torch.randperm(count, generator=generator)
    if not (labels >= 0).any():
        return shuffled
    shuffled = shuffled[labels[shuffled] >= 0]
    _, label, sizes = torch.unique(labels[shuffled], return_inverse=True, return_counts=True)
    by_label = shuffled[label.argsort(stable=True)]  # label after label, each in random order
    draws = torch.full_like(sizes, count // len(sizes))
    draws[torch.randperm(len(sizes), generator=generator)[: count % len(sizes)]] += 1
    which = torch.arange(len(sizes)).repeat_interleave(draws)
    turn = torch.arange(count) - (draws.cumsum(0) - draws)[which]  # 0, 1, 2, ... within each label
    rows = by_label[(sizes.cumsum(0) - sizes)[which] + turn % sizes[which]]
    return rows[torch.randperm(count, generator=generator)]


def weighted_draws(weights: Tensor, generator: torch.Generator) -> Tensor:
    r"""As many images as there are, drawn by weights: an image with weight `w_i` comes `N w_i / \sum_j w_j` times.

    That is on average; in one epoch it is the whole number below or above. Their order is random. The draw is
    systematic: points at equal distances, from a random start, on the images' weights side by side, those of one
    weight in random order. So all images of one weight, such as those of a root, come as often together as their
    weights say, but for less than one time.

    Args:
        weights: ``(N,)`` of at least 0, on the CPU, not all 0.
        generator: on the CPU; the same draws for the same state.

    Returns:
        ``(N,)`` int64 rows.

    Example:
        >>> weighted_draws(torch.tensor([3.0, 1.0, 0.0, 0.0]), torch.Generator().manual_seed(0)).bincount().tolist()
        [3, 1]
    """
    count = len(weights)
    shuffled = torch.randperm(count, generator=generator)
    shuffled = shuffled[weights[shuffled].argsort(stable=True)]
    ends = weights.double()[shuffled].cumsum(0)
    points = (torch.arange(count) + torch.rand((), dtype=torch.float64, generator=generator)) * (ends[-1] / count)
    places = torch.searchsorted(ends, points, right=True).clamp(max=int((weights[shuffled] > 0).nonzero()[-1]))
    return shuffled[places][torch.randperm(count, generator=generator)]
