"""The sampler of the training images of one rank of a Trainer."""

from torch import Tensor

from sslbolts import distributed
from sslbolts._lightning import Trainer
from sslbolts.data.mixed_sampler import MixedSampler
from sslbolts.data.sampler import EpochSampler, OrderedEpochSampler
from sslbolts.errors import UsageError

__all__ = ["overfits", "place_of", "sampler_of"]


def sampler_of(
    trainer: Trainer | None,
    images: int,
    batch_size: int,
    *,
    seed: int,
    drop_last: bool,
    labeled: int | None = None,
    labels: Tensor | None = None,
) -> EpochSampler:
    """The sampler of this rank; in the dataset's order where the Trainer overfits some batches.

    Args:
        trainer: whose ranks share the images; None takes those of the process group, if there is one.
        images, batch_size, seed, drop_last: see :class:`EpochSampler`.
        labeled: images of a batch that are labeled, by ``labels``; None draws all alike.
        labels: of all images; see :class:`MixedSampler`.

    Raises:
        UsageError: for a mixture where the Trainer overfits some batches.
    """
    overfit, place = overfits(trainer), place_of(trainer)
    if labeled is not None:
        assert labels is not None
        if overfit:
            raise UsageError(
                f"labeled_batch_size={labeled} has no fixed first batches to overfit: leave one of them out."
            )
        return MixedSampler(labels, batch_size, labeled=labeled, seed=seed, **place)
    return (OrderedEpochSampler if overfit else EpochSampler)(
        images,
        batch_size,
        seed=seed,
        **place,
        shuffle=not overfit,
        drop_last=drop_last,
    )


def overfits(trainer: Trainer | None) -> bool:
    """Whether a Trainer goes through the same few batches again and again."""
    return bool(getattr(trainer, "overfit_batches", 0) > 0)


def place_of(trainer: Trainer | None) -> dict[str, int]:
    """``rank`` and ``world_size`` of this process among those that share the images of a Trainer.

    Args:
        trainer: None takes those of the process group, if there is one.
    """
    ranks = (trainer and trainer.distributed_sampler_kwargs) or {}
    return {
        "rank": ranks.get("rank", distributed.rank()),
        "world_size": ranks.get("num_replicas", distributed.world_size()),
    }
