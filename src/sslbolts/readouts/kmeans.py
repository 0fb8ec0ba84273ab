"""k-means of features, on their device and over all ranks."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import one_of
from sslbolts.distributed import all_sum, gather_ragged, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar
from sslbolts.readouts.checks import without_autocast

__all__ = ["Clusters", "EmptyClusters", "kmeans", "shard"]

EmptyClusters = Literal["split", "keep"]
"""Fate of a cluster without rows: it takes half of the largest one's, or its centroid stays."""

_NUMBERS_AT_ONCE = 2**24  # similarities of rows and centroids that are in memory at one time
_SPLIT = 1 / 1024  # how far, relative to their values, the halves of a cluster are apart


class Clusters(NamedTuple):
    """A partition of rows.

    Attributes:
        centroids: ``(K, D)``, equal on all ranks.
        assignments: ``(N,)`` int64, the cluster of each of this rank's rows.
        sizes: ``(K,)`` int64, rows in each cluster, of all ranks.
    """

    centroids: Tensor
    assignments: Tensor
    sizes: Tensor


@torch.no_grad()
def kmeans(
    features: Tensor,
    k: int,
    *,
    iterations: int = 10,
    generator: torch.Generator | None = None,
    spherical: bool = False,
    init: Tensor | None = None,
    empty: EmptyClusters = "split",
    progress: bool = False,
) -> Clusters:
    r"""Lloyd's k-means: rows go to the nearest centroid, centroids to the mean of their rows, again and again.

    .. math:: a_n = \arg\min_k |x_n - c_k|^2, \quad c_k = \frac{1}{|\{n: a_n = k\}|} \sum_{n: a_n = k} x_n

    Spherical k-means works on directions: rows and centroids have length 1, and the nearest centroid is that of the
    largest cosine. After ``iterations`` updates of the centroids, rows are assigned once more. Products are taken in
    float32 (or float64) whatever autocast says, in chunks: there is never a matrix of all rows and all centroids.

    Over several ranks, each brings a share of the rows (see :func:`shard`); sums and counts are added up, and centroids
    are the same everywhere, those of a single process on all rows in rank order.

    Args:
        features: ``(N, D)``, this rank's rows; ranks may have different numbers of them, or none.
        k: number of clusters `K`, at most the number of rows.
        iterations: updates of the centroids, >= 0.
        generator: on the CPU and in the same state on all ranks: draws `K` different rows as the first centroids. Not
            needed with ``init``.
        spherical: k-means of directions.
        init: ``(K, D)`` first centroids, the same on all ranks.
        empty: ``"split"``: a cluster that lost its rows starts again beside the centroid of one of the largest, which
            is thereby halved; ``"keep"``: it keeps its centroid.
        progress: show a bar if it takes more than two seconds.

    Returns:
        centroids, assignments of this rank's rows, and the sizes of all clusters.

    Raises:
        UsageError: if there are fewer rows than clusters, or neither or both of ``generator`` and ``init`` are given.

    Source: Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 1982; spherical: Dhillon
    and Modha, Concept Decompositions for Large Sparse Text Data using Clustering, Machine Learning 2001. Splitting as
    in Johnson et al., Billion-scale similarity search with GPUs, arXiv:1702.08734, but the largest clusters first.

    Example:
        >>> rows = torch.tensor([[0.0], [0.1], [9.0], [9.2]])
        >>> clusters = kmeans(rows, 2, generator=torch.Generator().manual_seed(0))
        >>> sorted(round(c, 2) for c in clusters.centroids.flatten().tolist()), clusters.sizes.tolist()
        ([0.05, 9.1], [2, 2])
    """
    if features.ndim != 2:
        raise UsageError(f"k-means takes a matrix of features (N, D), got {tuple(features.shape)}.")
    one_of(get_args(EmptyClusters), empty=empty)
    if (generator is None) == (init is None):
        raise UsageError("k-means starts from init= or from rows that generator= draws: give one of them.")
    if init is not None and init.shape != (k, features.shape[1]):
        raise UsageError(f"init has shape {tuple(init.shape)}: {k} centroids of width {features.shape[1]} are needed.")
    features = features if features.dtype == torch.float64 else features.float()
    centroids = _drawn(features, k, generator) if init is None else init.to(features)
    with without_autocast(features):
        for _ in late_bar(range(iterations), f"k-means, {k:,} clusters", shown=progress):
            sums, sizes, _ = _assign(features, _unit(centroids, spherical), spherical)
            means = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp(min=1), centroids)
            centroids = _unit(_refilled(means, sizes) if empty == "split" else means, spherical)
        _, sizes, assignments = _assign(features, _unit(centroids, spherical), spherical)
    return Clusters(_unit(centroids, spherical), assignments, sizes)


def shard(features: Tensor) -> Tensor:
    """This rank's part of rows that all ranks have: contiguous, so that parts in rank order are the whole again.

    Example:
        >>> shard(torch.arange(5)).tolist()  # a single process
        [0, 1, 2, 3, 4]
    """
    rows = -(-len(features) // world_size())
    mine: Tensor = features[rank() * rows : (rank() + 1) * rows]
    return mine


def _unit(centroids: Tensor, spherical: bool) -> Tensor:
    return F.normalize(centroids, dim=1) if spherical else centroids


def _drawn(features: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """Rows of all ranks at ``k`` random places; each rank puts in those that it has."""
    counts = gather_ragged(torch.tensor([len(features)], device=features.device)).tolist()
    if not 1 <= k <= sum(counts):
        raise UsageError(f"{sum(counts)} rows cannot be {k} clusters: at least one row is needed for each.")
    places = torch.randperm(sum(counts), generator=generator)[:k] - sum(counts[: rank()])
    mine = ((places >= 0) & (places < len(features))).to(features.device)
    rows = features.new_zeros(k, features.shape[1])
    rows[mine] = features[places.to(features.device)[mine]]
    drawn: Tensor = all_sum(rows)
    return drawn


def _assign(features: Tensor, centroids: Tensor, spherical: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Sums and numbers of the rows nearest to each centroid, over all ranks; and this rank's assignments."""
    k = len(centroids)
    sums, sizes = torch.zeros_like(centroids), torch.zeros(k, dtype=torch.int64, device=features.device)
    assignments = torch.empty(len(features), dtype=torch.int64, device=features.device)
    offset = torch.zeros(k, device=features.device) if spherical else centroids.square().sum(1) / 2
    rows = max(1, _NUMBERS_AT_ONCE // k)
    for start in range(0, len(features), rows):
        part = _unit(features[start : start + rows], spherical)
        nearest = (part @ centroids.T - offset).argmax(1)
        # As a product and not by index_add_, whose order of summation on a GPU changes from run to run.
        member = torch.zeros(len(part), k, dtype=part.dtype, device=part.device).scatter_(1, nearest[:, None], 1)
        sums += member.T @ part
        sizes += member.sum(0).long()
        assignments[start : start + rows] = nearest
    return all_sum(sums), all_sum(sizes), assignments


def _refilled(centroids: Tensor, sizes: Tensor) -> Tensor:
    """Centroids in which every empty cluster (as far as there are others) stands beside one of the largest."""
    donors = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    vacant = (sizes == 0).nonzero().flatten()[: len(donors)]
    donors = donors[: len(vacant)]
    aside = torch.full_like(centroids[0], _SPLIT)
    aside[1::2] = -_SPLIT
    refilled = centroids.clone()
    refilled[vacant] = centroids[donors] * (1 + aside)
    refilled[donors] = centroids[donors] * (1 - aside)
    return refilled
