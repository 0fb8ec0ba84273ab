"""How far two partitions of the same images agree."""

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["normalized_mutual_information"]


@torch.no_grad()
def normalized_mutual_information(first: Tensor, second: Tensor) -> Tensor:
    r"""Normalized mutual information of two partitions, whatever the names of their clusters.

    .. math:: \frac{I(A; B)}{\sqrt{H(A) H(B)}}

    Between clusters and classes it tells how well the clusters are classes; between the clusters of two epochs, how
    much training still changes them.

    Args:
        first: ``(N,)`` integers: the cluster of each image. Images with a negative one, in either partition, are left
            out.
        second: ``(N,)`` integers.

    Returns:
        Scalar float64 in [0, 1]; 1 for equal partitions, 0 for independent ones, and if one of the two is a single
        cluster and the other is not.

    Raises:
        UsageError: if the shapes differ.

    Source: Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520,
    equation 4.

    Example:
        >>> normalized_mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 3, 3])).item()
        1.0
    """
    if first.shape != second.shape or first.dim() != 1 or first.is_floating_point() or second.is_floating_point():
        raise UsageError(
            f"two partitions are integers of one shape (N,), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    known = (first >= 0) & (second >= 0)
    first, second = first[known].long(), second[known].long()
    if not len(first):
        return torch.ones((), dtype=torch.float64, device=first.device)
    both = first * (second.max() + 1) + second
    alone, other, together = _entropy(first), _entropy(second), _entropy(both)
    shared = (alone + other - together).clamp(min=0)
    scale = (alone * other).sqrt()
    agreement: Tensor = torch.where(scale > 0, shared / scale, ((alone + other) == 0).double()).clamp(max=1)
    return agreement


def _entropy(labels: Tensor) -> Tensor:
    counts = torch.unique(labels, return_counts=True)[1].double()
    share = counts / counts.sum()
    entropy: Tensor = -(share * share.log()).sum()
    return entropy
