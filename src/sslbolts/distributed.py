"""Tensors across ranks: gather with gradient, sums, broadcast. Everything is the identity in a single process."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "all_sum",
    "broadcast_",
    "gather",
    "gather_objects",
    "gather_or_none",
    "gather_ragged",
    "own_rows",
    "padding_rows",
    "rank",
    "world_size",
]

_TYPES = (torch.float32, torch.uint8, torch.int64, torch.float64, torch.bfloat16, torch.float16)


def world_size() -> int:
    """Number of processes; 1 without an initialized process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank; 0 without an initialized process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; the gradient of a row is the sum of what every rank's loss says about it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        pieces = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(pieces, x.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _AllSum(torch.autograd.Function):
    """Sum over ranks, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


@torch.compiler.disable
def gather(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order, with the exact gradient.

    A loss computed on gathered rows by every rank, whose gradients DDP then averages, has the gradient that one process
    would have on the whole batch.

    Args:
        x: ``(B, ...)``, of the same shape on every rank.

    Returns:
        ``(world_size * B, ...)``; ``x`` itself in a single process.

    Example:
        >>> x = torch.ones(2, 3)
        >>> gather(x) is x  # a single process
        True
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def own_rows(x: Tensor) -> Tensor:
    """The places ``(B,)`` of this rank's rows among those of all ranks, as :func:`gather` puts them.

    Args:
        x: ``(B, ...)``, of the same shape on every rank.

    Example:
        >>> own_rows(torch.zeros(3, 2)).tolist()  # a single process
        [0, 1, 2]
    """
    return torch.arange(len(x), device=x.device) + rank() * len(x)


@torch.compiler.disable
def all_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over ranks, differentiable; ``x`` itself in a single process."""
    if world_size() == 1:
        return x
    total: Tensor = _AllSum.apply(x)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def gather_ragged(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order, where ranks may hold different numbers of rows (or none). No gradient.

    Args:
        x: ``(B_rank, ...)``; all other dimensions and the dtype are equal on every rank.

    Returns:
        ``(sum of B_rank, ...)``.
    """
    if world_size() == 1:
        return x
    rows = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    rows[rank()] = len(x)
    dist.all_reduce(rows)
    counts = rows.tolist()
    padded = x.new_zeros(max(counts), *x.shape[1:])
    padded[: len(x)] = x
    pieces = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(pieces, padded)
    return torch.cat([piece[:count] for piece, count in zip(pieces, counts)])


@torch.no_grad()
def gather_or_none(x: Tensor | None, device: torch.device) -> Tensor | None:
    """As :func:`gather_ragged`, where a rank may have nothing at all, and then not know what rows look like.

    Args:
        x: ``(B_rank, ...)`` on ``device``; or None.
        device: of the result.

    Returns:
        ``(sum of B_rank, ...)``, the same on every rank; None if no rank has anything.
    """
    if world_size() == 1:
        return x
    form = torch.zeros(1, 10, dtype=torch.int64, device=device)  # there, type, dimensions, their sizes
    if x is not None:
        sizes = x.shape[1:]
        form[0, : 3 + len(sizes)] = torch.tensor([1, _TYPES.index(x.dtype), len(sizes), *sizes])
    known = [form for form in gather_ragged(form).tolist() if form[0]]
    if not known:
        return None
    _, kind, dimensions, *sizes = known[0]
    return gather_ragged(torch.empty(0, *sizes[:dimensions], dtype=_TYPES[kind], device=device) if x is None else x)


@torch.no_grad()
def broadcast_(tensors: Iterable[Tensor], source: int = 0) -> None:
    """Overwrite ``tensors`` in place with those of rank ``source``."""
    if world_size() == 1:
        return
    for tensor in tensors:
        dist.broadcast(tensor.data, source)


def gather_objects(value: Any) -> list[Any]:
    """What every rank gives, in rank order: small plain values, which pass through pickle."""
    if world_size() == 1:
        return [value]
    everybody: list[Any] = [None] * world_size()
    dist.all_gather_object(everybody, value)
    return everybody


def padding_rows(start: int, rows: int, dataset_size: int) -> Tensor:
    """The rows of an evaluation batch that a distributed sampler only repeated to make ranks equal.

    An unshuffled ``DistributedSampler`` gives rank ``r`` the images ``r, r + W, r + 2W, ...`` and starts over at
    image 0 when they run out; local row ``j`` is such a repetition exactly if ``r + j * W >= dataset_size``.

    Args:
        start: number of rows that this rank has seen before this batch.
        rows: number of rows in the batch.
        dataset_size: number of images in the dataset.

    Returns:
        ``(rows,)`` bool, True for a repetition.

    Example:
        >>> padding_rows(start=4, rows=3, dataset_size=6).tolist()  # a single process
        [False, False, True]
    """
    return rank() + torch.arange(start, start + rows) * world_size() >= dataset_size
