"""Choices of images: of labeled ones, each class with its share; of any, at equal distances."""

import torch
from torch import Tensor

__all__ = ["even", "spread", "stratified"]


def stratified(targets: Tensor, rows: int) -> Tensor:
    """Positions, in order, of ``rows`` labeled images, each class with its share of them; always the same ones.

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


def spread(known: Tensor, rows: int) -> Tensor:
    """Positions, in order, of ``rows`` of the images that ``known`` ``(N,)`` marks; always the same ones.

    Example:
        >>> chosen = spread(torch.arange(100) % 2 == 0, 20)
        >>> len(chosen), int((chosen % 2).sum())
        (20, 0)
    """
    shuffled = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))
    return shuffled[known.cpu()[shuffled]][:rows].sort().values


def even(size: int, most: int) -> Tensor:
    """At most ``most`` rows of ``size``, in order and at equal distances.

    Example:
        >>> even(10, 5).tolist(), even(3, 5).tolist()
        ([0, 2, 4, 6, 8], [0, 1, 2])
    """
    return torch.arange(size) if size <= most else torch.arange(most) * size // most
