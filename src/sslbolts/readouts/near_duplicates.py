"""Pairs of rows that are nearly the same, by the cosine of their features."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import whole
from sslbolts.errors import UsageError

__all__ = ["Pairs", "check_threshold", "groups_of", "near_duplicates"]

_ROUNDING = 1e-6  # of products in float32


class Pairs(NamedTuple):
    """Pairs of rows, the most similar first.

    Attributes:
        first: ``(P,)`` int64, the smaller row of each pair.
        second: ``(P,)`` int64.
        similarity: ``(P,)`` float64, in [-1, 1].
        found: number of pairs over the threshold, of which these are the most similar.
    """

    first: Tensor
    second: Tensor
    similarity: Tensor
    found: int


@torch.no_grad()
def near_duplicates(features: Tensor, *, threshold: float, most: int = 100, rows_at_once: int = 1024) -> Pairs:
    """The pairs of rows whose cosine similarity is at least a threshold, the most similar first.

    All pairs are compared, in products of blocks: of `N` rows of width `D` that takes `N^2 D` operations, and besides
    the features memory for some blocks and ``most`` pairs. Of equally similar pairs those of smaller rows come first.

    Args:
        features: ``(N, D)``, finite; a row of zeros is similar to none.
        threshold: in (0, 1]; 1 finds what is equal up to its length. Rounding counts in a pair's favor, up to 1e-6.
        most: keep so many pairs.
        rows_at_once: of a block.

    Raises:
        UsageError: for a value out of its range, or features that are not finite.

    Example:
        >>> pairs = near_duplicates(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 0.1]]), threshold=0.99)
        >>> pairs.first.tolist(), pairs.second.tolist(), pairs.found
        ([0, 0, 2], [2, 3, 3], 3)
    """
    check_threshold(threshold)
    whole(most=most, rows_at_once=rows_at_once)
    if not bool(features.isfinite().all()):
        raise UsageError("some features are NaN or infinite: nothing can be said of their similarity.")
    blocks = torch.split(F.normalize(features.float(), dim=1), rows_at_once)
    kept = _Pairs(*(torch.empty(0, dtype=kind) for kind in (torch.float32, torch.int64, torch.int64)))
    found = 0
    for i, left in enumerate(blocks):
        for j in range(i, len(blocks)):
            similar = left @ blocks[j].T
            over = similar >= threshold - _ROUNDING
            if i == j:
                over = over.triu(1)
            rows, columns = over.nonzero(as_tuple=True)
            if len(rows) == 0:
                continue
            found += len(rows)
            new = _Pairs(similar[rows, columns].cpu(), rows.cpu() + i * rows_at_once, columns.cpu() + j * rows_at_once)
            kept = kept.with_(new.nearest(most)).nearest(most)
    similarity = _exactly(features, kept.first, kept.second)
    order = similarity.argsort(descending=True, stable=True)
    return Pairs(kept.first[order], kept.second[order], similarity[order], found)


def check_threshold(threshold: float) -> None:
    """Refuse what is no similarity of near-duplicates.

    Raises:
        UsageError: with the range.
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold={threshold}: a cosine similarity is in (0, 1].")


def groups_of(first: Tensor, second: Tensor) -> Tensor:
    """The group of each pair: pairs that share a row, also by way of others, are of one; the first pair's group is 0.

    Args:
        first: ``(P,)`` rows.
        second: ``(P,)`` rows.

    Returns:
        ``(P,)`` int64.

    Example:
        >>> groups_of(torch.tensor([4, 1, 0]), torch.tensor([7, 2, 4])).tolist()
        [0, 1, 0]
    """
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        parent.setdefault(row, row)
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in zip(first.tolist(), second.tolist()):
        parent[root(a)] = root(b)
    numbers: dict[int, int] = {}
    return torch.tensor([numbers.setdefault(root(a), len(numbers)) for a in first.tolist()], dtype=torch.int64)


class _Pairs(NamedTuple):
    similarity: Tensor
    first: Tensor
    second: Tensor

    def with_(self, other: "_Pairs") -> "_Pairs":
        return _Pairs(*(torch.cat(columns) for columns in zip(self, other)))

    def nearest(self, most: int) -> "_Pairs":
        """At most so many, the most similar first, and of equals those of smaller rows."""
        order = self.second.argsort(stable=True)
        order = order[self.first[order].argsort(stable=True)]
        order = order[self.similarity[order].argsort(descending=True, stable=True)][:most]
        return _Pairs(*(column[order] for column in self))


def _exactly(features: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Cosines ``(P,)`` in float64, of a few pairs at a time."""
    parts = [
        F.cosine_similarity(features[a].double(), features[b].double(), dim=1).cpu()
        for a, b in zip(torch.split(first, 256), torch.split(second, 256))
    ]
    return torch.cat(parts).clamp(-1, 1) if parts else torch.empty(0, dtype=torch.float64)
