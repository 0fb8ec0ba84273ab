"""Cross entropy over a matrix of similarities that is never whole in memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["cross_entropy_in_chunks"]

_LARGEST = 2**24  # similarities held at once, 64 MiB in float32


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made together with the value, while a chunk is there, so that nothing is computed twice."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, positive: Tensor, excluded: Tensor, rows: int, differentiate: bool
    ) -> Tensor:
        total = queries.new_zeros(())
        to_queries = torch.empty_like(queries) if differentiate else None
        to_keys = torch.zeros_like(keys) if differentiate else None
        for start in range(0, len(queries), rows):
            chunk = slice(start, start + rows)
            target = positive[chunk, None]
            logits = queries[chunk] @ keys.T  # (rows, N)
            logits.scatter_(1, excluded[chunk, None], -torch.inf)
            normalizer = logits.logsumexp(1, keepdim=True)
            total += (normalizer - logits.gather(1, target)).sum()
            if to_queries is not None and to_keys is not None:
                gradient = logits.sub_(normalizer).exp_()  # softmax - one-hot, in the memory of the logits
                gradient.scatter_add_(1, target, -torch.ones_like(normalizer))
                torch.mm(gradient, keys, out=to_queries[chunk])
                to_keys.addmm_(gradient.T, queries[chunk])
        ctx.save_for_backward(to_queries, to_keys)
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_queries, to_keys = ctx.saved_tensors
        return grads[0] * to_queries, grads[0] * to_keys, None, None, None, None


def cross_entropy_in_chunks(
    queries: Tensor, keys: Tensor, positive: Tensor, excluded: Tensor, *, chunk_size: int | None = None
) -> Tensor:
    r"""Sum over queries `i` of `-q_i · k_p + log Σ_{j ≠ e} exp(q_i · k_j)`, a chunk of queries at a time.

    Memory grows with ``chunk_size * N``, not with ``Q * N``; value and gradient do not depend on the chunks but for
    rounding. The gradient cannot be differentiated again.

    Args:
        queries: ``(Q, D)``.
        keys: ``(N, D)``.
        positive: ``(Q,)`` which key `p` belongs to each query.
        excluded: ``(Q,)`` which key `e` is no candidate, e.g. the query itself.
        chunk_size: queries per chunk; None takes as many as make 2^24 similarities.

    Returns:
        Scalar.

    Example:
        >>> z = torch.eye(3)
        >>> total = cross_entropy_in_chunks(z, z, torch.tensor([1, 2, 0]), torch.arange(3))
        >>> round(total.exp().item(), 4)  # two equal candidates for each of three
        8.0
    """
    rows = chunk_size or max(1, _LARGEST // len(keys))
    differentiate = torch.is_grad_enabled() and (queries.requires_grad or keys.requires_grad)
    total: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        queries, keys, positive, excluded, rows, differentiate
    )
    return total
