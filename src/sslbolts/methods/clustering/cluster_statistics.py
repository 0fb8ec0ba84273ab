"""Statistics of an epoch's clusters, which tell of a method's health."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbolts._lightning import Trainer
from sslbolts.health import Indicator
from sslbolts.readouts import normalized_mutual_information

__all__ = ["INDICATORS", "cluster_statistics", "known_agreement", "largest_cluster"]

_AGREEMENT = "train/nmi_to_last_epoch"


def largest_cluster(*fixes: str) -> Indicator:
    """``train/largest_cluster``, the part of the images that are in the largest cluster.

    Args:
        fixes: what usually helps the method.
    """
    meaning = "more than half of the images are in one cluster"
    return Indicator("train/largest_cluster", meaning, above=0.5, fixes=fixes)


INDICATORS = (
    Indicator(
        metric="train/clusters_in_use",
        below=0.5,
        meaning="more than half of the clusters have no images: the others are alike",
        fixes=("a lower learning rate or a longer warm-up", "fewer clusters"),
    ),
    Indicator(
        metric=_AGREEMENT,
        below=0.01,
        above=0.999,
        meaning="from one epoch to the next clusters have nothing in common (0), or do not change at all (1)",
        fixes=("at 0 a lower learning rate", "at 1 a higher one, or stronger augmentation"),
    ),
)
"""Indicators of both methods that cluster all images."""


@torch.no_grad()
def cluster_statistics(now: Tensor, num_clusters: Sequence[int], before: Tensor | None = None) -> dict[str, Tensor]:
    """Scalars on the device, means over the clusterings, that a method logs in every step of the epoch.

    Args:
        now: ``(H, N)`` int64, the cluster of each image in each of `H` clusterings; negative for none.
        num_clusters: of each clustering.
        before: ``now`` of the epoch before; None where it is not known.

    Returns:
        ``train/clusters`` that have images; ``train/clusters_in_use`` and ``train/largest_cluster``, as fractions of
        the clusters and of the images; and, if there was a clustering before, ``train/nmi_to_last_epoch``.

    Example:
        >>> statistics = cluster_statistics(torch.tensor([[0, 0, 2, 0]]), [4])
        >>> {name: value.item() for name, value in statistics.items()}
        {'train/clusters': 2.0, 'train/clusters_in_use': 0.5, 'train/largest_cluster': 0.75}
    """
    sizes = [torch.bincount(labels[labels >= 0], minlength=k).float() for labels, k in zip(now, num_clusters)]
    used = torch.stack([(size > 0).float().sum() for size in sizes])
    statistics = {
        "train/clusters": used.mean(),
        "train/clusters_in_use": torch.stack([u / len(size) for u, size in zip(used, sizes)]).mean(),
        "train/largest_cluster": torch.stack([size.max() / size.sum() for size in sizes]).mean(),
    }
    if before is not None and bool((before >= 0).any()):
        agreement = [normalized_mutual_information(old, new) for old, new in zip(before, now)]
        statistics[_AGREEMENT] = torch.stack(agreement).mean().float()
    return statistics


def known_agreement(trainer: Trainer) -> dict[str, Tensor]:
    """``train/nmi_to_last_epoch`` of a run that is resumed, whose clusters of the epoch before are not known any more.

    Args:
        trainer: which has taken up the metrics of the checkpoint.

    Returns:
        Nothing in a run's first epoch.
    """
    known = trainer.callback_metrics
    return {_AGREEMENT: known[_AGREEMENT]} if _AGREEMENT in known else {}
