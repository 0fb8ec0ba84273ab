"""Weights by which training images are drawn, where not all are to come equally often."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["check_sampling", "check_weights", "group_weights", "sampling_weights"]


def check_sampling(sampling: "str | Sequence[float] | None", labeled_batch_size: int | None = None) -> None:
    """Refuses what says no weights.

    Args:
        sampling: as given: "balanced", a list of weights, or None.
        labeled_batch_size: as given; it says itself how often images come.

    Raises:
        UsageError: that says what was given.
    """
    if sampling is None:
        return
    if labeled_batch_size is not None:
        raise UsageError("sampling= and labeled_batch_size= both say which images a batch holds: give one of them.")
    if isinstance(sampling, str):
        if sampling != "balanced":
            raise UsageError(f'sampling="{sampling}": it is "balanced", or a list of weights.')
        return
    check_weights("sampling", sampling)


def check_weights(name: str, weights: Sequence[float]) -> None:
    """Refuses weights that are negative, not finite, or all 0.

    Raises:
        UsageError: that names the argument.
    """
    wrong = [weight for weight in weights if not (isinstance(weight, int | float) and 0 <= weight < math.inf)]
    if wrong:
        raise UsageError(f"{name} has the weight {wrong[0]!r}: weights are finite numbers of at least 0.")
    if not sum(weights):
        raise UsageError(f"{name} has no weight above 0, so there is nothing to draw.")


def sampling_weights(sampling: "str | Sequence[float]", labels: Tensor, num_classes: int | None) -> Tensor:
    """The weight of each training image.

    Args:
        sampling: "balanced": all classes come equally often, and an image without a label not at all. A list of as many
            weights as there are images: theirs. One of as many as there are classes: the shares of the classes.
        labels: ``(N,)``, -1 where an image has none.
        num_classes: number of classes; None where it is not known.

    Returns:
        ``(N,)`` float64.

    Raises:
        UsageError: for another number of weights, or images without labels.

    Example:
        >>> sampling_weights("balanced", torch.tensor([0, 0, 1, -1]), 2).tolist()
        [0.5, 0.5, 1.0, 0.0]
    """
    if not isinstance(sampling, str) and len(sampling) == len(labels):
        return torch.tensor(sampling, dtype=torch.float64)
    if not isinstance(sampling, str) and len(sampling) != num_classes:
        classes = "" if num_classes is None else f", or one for each of {num_classes:,} classes"
        raise UsageError(
            f"sampling has {len(sampling):,} weights: give one for each of {len(labels):,} training images{classes}."
        )
    if not (labels >= 0).any():
        raise UsageError("sampling= by class needs labels, and no training image has one: leave it out.")
    count = int(labels.max()) + 1 if isinstance(sampling, str) else len(sampling)
    shares = [1.0] * count if isinstance(sampling, str) else list(sampling)
    return group_weights(labels, shares)


def group_weights(groups: Tensor, shares: Sequence[float]) -> Tensor:
    """The weight of each image whose group is to have a share of the draws: that share over the group's size.

    Args:
        groups: ``(N,)`` from 0 on, -1 for an image that is not drawn.
        shares: of each group.

    Returns:
        ``(N,)`` float64.

    Raises:
        UsageError: if no image has a weight above 0.
    """
    known = groups >= 0
    _, place, sizes = torch.unique(groups[known], return_inverse=True, return_counts=True)
    weights = torch.zeros(len(groups), dtype=torch.float64)
    weights[known] = torch.tensor(shares, dtype=torch.float64)[groups[known]] / sizes[place]
    if not weights.any():
        raise UsageError("the classes or roots that have images all have weight 0, so there is nothing to draw.")
    return weights
