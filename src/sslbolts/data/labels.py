"""Which training images keep their labels, where most are to be treated as unlabelled."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator

__all__ = ["keep_labels"]

_LABELS = 2  # what a seed is for


def keep_labels(targets: Tensor, per_class: int, *, seed: int) -> Tensor:
    """As many images of every class, drawn at random.

    Args:
        targets: ``(N,)`` labels, -1 where an image has none.
        per_class: how many images of each class keep theirs.
        seed: of the draw.

    Returns:
        ``(N,)`` labels, -1 for all others.

    Raises:
        UsageError: if a class has fewer images.

    Example:
        >>> kept = keep_labels(torch.arange(12) % 3, 2, seed=0)
        >>> [int((kept == label).sum()) for label in (-1, 0, 1, 2)]
        [6, 2, 2, 2]
    """
    kept = torch.full_like(targets, -1)
    for label in sorted(set(targets.tolist()) - {-1}):
        rows = (targets == label).nonzero().squeeze(1)
        if len(rows) < per_class:
            raise UsageError(f"labels_per_class={per_class}, but class {label} has only {len(rows)} training images.")
        chosen = rows[torch.randperm(len(rows), generator=generator(seed, _LABELS, label))[:per_class]]
        kept[chosen] = label
    return kept
