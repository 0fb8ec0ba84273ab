"""Labels of images, and the draw of the few that are kept where most images are to count as unlabeled."""

import torch
from torch import Tensor

from sslbolts.checks.labels import as_labels
from sslbolts.data.apart import Apart
from sslbolts.data.images import Images
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar
from sslbolts.training.seeds import generator

__all__ = ["few_labels", "keep_labels", "labels_of"]

_LABELS = 2  # what a seed is for


def labels_of(images: Images) -> Tensor:
    """Labels ``(N,)``, -1 where an image has none: as the images hold them, or else read with the images one by one.

    Example:
        >>> from sslbolts.data import TensorImages
        >>> labels_of(TensorImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([1, -1]))).tolist()
        [1, -1]
    """
    held = getattr(images, "targets", None)
    if held is None:
        held = list(late_bar(Apart(_label, images, range(len(images)), at_a_time=16), "Labels"))
    return as_labels(held)


def few_labels(images: Images, per_class: int, *, seed: int) -> Tensor:
    """Labels ``(N,)`` of training images where only so many of each class keep theirs; see :func:`keep_labels`.

    Raises:
        UsageError: for images without labels, or whose labels are not known before they are read.
    """
    held = getattr(images, "targets", None)
    if held is None or not images.labeled:
        raise UsageError(
            f"labels_per_class={per_class} needs training images whose labels are known before they are read: labeled "
            "folders, a named data set, or in_memory=True."
        )
    return keep_labels(held, per_class, seed=seed)


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


def _label(images: Images, row: int) -> int:
    return images.read(row)[1]
