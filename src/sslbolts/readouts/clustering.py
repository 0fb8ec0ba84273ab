"""Agreement of two partitions of the same images."""

import torch
from torch import Tensor

from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError
from sslbolts.readouts.assignment import best_assignment

__all__ = ["adjusted_rand_index", "matched_accuracy", "normalized_mutual_information", "purity"]


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
    first, second = _known(first, second)
    if not len(first):
        return torch.ones((), dtype=torch.float64, device=first.device)
    both = first * (second.max() + 1) + second
    alone, other, together = _entropy(first), _entropy(second), _entropy(both)
    shared = (alone + other - together).clamp(min=0)
    scale = (alone * other).sqrt()
    agreement: Tensor = torch.where(scale > 0, shared / scale, ((alone + other) == 0).double()).clamp(max=1)
    return agreement


@torch.no_grad()
def purity(clusters: Tensor, targets: Tensor) -> Tensor:
    r"""Share of the images that are of the commonest class of their cluster.

    .. math:: \frac{1}{N} \sum_k \max_c |\{n: a_n = k, y_n = c\}|

    It grows with the number of clusters, up to 1 where each image is its own: compare it at an equal number only.

    Args:
        clusters: ``(N,)`` integers; an image with a negative one, or a negative target, is left out.
        targets: ``(N,)`` integers.

    Returns:
        Scalar float64 in (0, 1]; 1 if there are no images.

    Raises:
        UsageError: if the shapes differ.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, Cambridge 2008, section 16.3.

    Example:
        >>> purity(torch.tensor([0, 0, 0, 1]), torch.tensor([5, 5, 2, 2])).item()
        0.75
    """
    table = _contingency(*_known(clusters, targets))
    return table.amax(1).sum() / table.sum() if table.numel() else table.new_ones(())


@torch.no_grad()
def adjusted_rand_index(first: Tensor, second: Tensor) -> Tensor:
    r"""Adjusted Rand index: on how many pairs of images two partitions agree, beyond what chance would do.

    .. math:: \frac{S - E}{\frac{1}{2} (S_a + S_b) - E}, \quad E = S_a S_b / \tbinom{N}{2}

    with :math:`S` the pairs that both partitions put together, and :math:`S_a`, :math:`S_b` those that each does.

    Args:
        first: ``(N,)`` integers; images with a negative one, in either partition, are left out.
        second: ``(N,)`` integers.

    Returns:
        Scalar float64, at most 1: 1 for equal partitions, 0 on average for independent ones, and it may be negative.

    Raises:
        UsageError: if the shapes differ.

    Source: Hubert and Arabie, Comparing Partitions, Journal of Classification 1985.

    Example:
        >>> adjusted_rand_index(torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 3, 3])).item()
        1.0
    """
    table = _contingency(*_known(first, second))
    together, alone, other = _pairs(table).sum(), _pairs(table.sum(1)).sum(), _pairs(table.sum(0)).sum()
    expected = alone * other / _pairs(table.sum()).clamp(min=1)
    scale = (alone + other) / 2 - expected
    # Both put all images together, or each alone: they are equal.
    return torch.where(scale > 0, (together - expected) / scale, torch.ones_like(scale))


@torch.no_grad()
def matched_accuracy(clusters: Tensor, targets: Tensor) -> Tensor:
    """Accuracy of clusters as classes, each class standing for at most one cluster, in the best way there is.

    Args:
        clusters: ``(N,)`` integers; an image with a negative one, or a negative target, is left out.
        targets: ``(N,)`` integers.

    Returns:
        Scalar float64 in [0, 1]; 1 if there are no images. Clusters beyond the number of classes are wrong throughout.

    Raises:
        UsageError: if the shapes differ.

    Source: Yang et al., Image Clustering using Local Discriminant Models and Global Integration, IEEE Transactions on
    Image Processing 2010; the matching is Kuhn's, see :func:`sslbolts.readouts.assignment.best_assignment`.

    Example:
        >>> matched_accuracy(torch.tensor([0, 0, 1, 2]), torch.tensor([5, 5, 2, 2])).item()
        0.75
    """
    table = _contingency(*_known(clusters, targets))
    if not table.numel():
        return table.new_ones(())
    rows, columns = best_assignment(table)
    return table[rows, columns].sum() / table.sum()


def _known(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The images that both partitions know, where float64 is."""
    if first.shape != second.shape or first.dim() != 1 or first.is_floating_point() or second.is_floating_point():
        raise UsageError(
            f"two partitions are integers of one shape (N,), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    first = with_float64(first)
    second = second.to(first.device)
    known = (first >= 0) & (second >= 0)
    return first[known].long(), second[known].long()


def _contingency(first: Tensor, second: Tensor) -> Tensor:
    """``(clusters, clusters)`` float64: how many images are in each cluster of the one and of the other."""
    _, rows = torch.unique(first, return_inverse=True)
    _, columns = torch.unique(second, return_inverse=True)
    height, width = (int(x.max()) + 1 if len(x) else 0 for x in (rows, columns))
    return torch.bincount(rows * width + columns, minlength=height * width).view(height, width).double()


def _pairs(count: Tensor) -> Tensor:
    return count * (count - 1) / 2


def _entropy(labels: Tensor) -> Tensor:
    counts = torch.unique(labels, return_counts=True)[1].double()
    share = counts / counts.sum()
    entropy: Tensor = -(share * share.log()).sum()
    return entropy
