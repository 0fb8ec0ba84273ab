"""W-MSE: the distance of views whose embeddings were whitened."""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import below_one, whole
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["w_mse"]


def w_mse(views: Sequence[Tensor], permutations: Tensor | None = None, *, group_size: int, eps: float = 0.0) -> Tensor:
    r"""Mean squared error of whitened views: `2 - 2 cos`, after the embeddings' covariance was made the identity.

    The batch is split into groups of `w` images, the same for all views. Each group of each view is whitened on its
    own, `x -> L⁻¹(x - μ)` with the Cholesky factor of its covariance, `L Lᵀ = (1 - ε) Cov + ε I`; then

    .. math:: \frac{2}{V (V - 1)} \sum_{u < v} \frac{1}{B} \sum_n (2 - 2 \cos(z^u_n, z^v_n))

    averaged over the given permutations. The gradient goes through the whitening and into all views. Nothing crosses
    ranks.

    A covariance of few images is nearly singular, so it is never formed: `Lᵀ` is, but for signs, the `R` of the QR
    decomposition of the centered rows over `√(w - 1)`, and the whitened rows are those of `Q`. The rounding error then
    grows with the condition of the rows, not with its square. It is computed in float64, and for Apple's GPUs, which
    have neither float64 nor QR, on the CPU.

    Args:
        views: `V` tensors ``(B, D)``, at least two.
        permutations: ``(I, B)`` int64: each row is an order in which the images are split into groups; None takes them
            as they come.
        group_size: images in a group, `w`; a divisor of `B`, more than `D`, better `2 D`.
        eps: shrinks the covariance to the identity; in [0, 1).

    Returns:
        Scalar in [0, 4]; NaN if a covariance is singular (``eps`` > 0 prevents it).

    Raises:
        UsageError: if shapes differ, or the groups do not fit the batch or the width.

    Source: Ermolov et al., Whitening for Self-Supervised Representation Learning, ICML 2021, arXiv:2007.06346. One
    reproduction stops the gradient at the second view; here, as in the authors' code, it enters both.

    Example:
        >>> x = torch.randn(16, 4)
        >>> round(abs(w_mse([x, 2 * x + 1], group_size=16).item()), 4)  # whitening undoes scale and shift
        0.0
    """
    if len(views) < 2 or any(view.shape != views[0].shape or view.dim() != 2 for view in views):
        raise UsageError(
            f"w_mse takes two or more embeddings of one shape (B, D), got {[tuple(v.shape) for v in views]}."
        )
    whole(2, group_size=group_size)
    below_one(eps=eps)
    batch, width = views[0].shape
    if batch % group_size:
        raise UsageError(
            f"a batch of {batch} images per device does not split into groups of {group_size}: give a batch size that "
            "is a multiple of the group size, or another group size."
        )
    if group_size <= width and eps == 0:
        raise UsageError(
            f"the covariance of {group_size} images in {width} dimensions is singular: give a group size of more than "
            f"the width (better {2 * width}), or eps > 0."
        )
    together = torch.stack(list(views))  # (V, B, D)
    orders = [None] if permutations is None else list(permutations)
    losses = [_whitened_distance(together if o is None else together[:, o], group_size, eps) for o in orders]
    return torch.stack(losses).mean()


@full_precision
def _whitened_distance(views: Tensor, group_size: int, eps: float) -> Tensor:
    home = torch.device("cpu") if views.device.type == "mps" else views.device
    groups = views.to(home).double().reshape(len(views), -1, group_size, views.shape[-1])  # (V, G, w, D)
    white = F.normalize(_whitened(groups, eps), dim=-1)
    pairs = [2 - 2 * (white[u] * white[v]).sum(-1).mean() for u, v in combinations(range(len(white)), 2)]
    return torch.stack(pairs).mean().to(views.dtype).to(views.device)


def _whitened(x: Tensor, eps: float) -> Tensor:
    """Rows ``(..., w, D)`` with mean 0 and the identity as covariance, but for the shrinkage."""
    images, width = x.shape[-2:]
    scale = math.sqrt((images - 1) / (1 - eps))
    rows = (x - x.mean(-2, keepdim=True)) / scale
    if eps > 0:  # rows whose products are the ε I that is added to the covariance
        identity = torch.eye(width, dtype=x.dtype, device=x.device).expand(*x.shape[:-2], -1, -1)
        rows = torch.cat([rows, math.sqrt(eps) * identity], -2)
    q, r = torch.linalg.qr(rows)
    diagonal = r.diagonal(dim1=-2, dim2=-1)  # (..., D)
    # Where the covariance is singular, QR goes on with any direction; NaN shows up in the loss, and no device waits.
    nothing = images * torch.finfo(x.dtype).eps * diagonal.abs().amax(-1, keepdim=True)
    signs = torch.where(diagonal.abs() > nothing, diagonal.sign(), torch.nan)
    white: Tensor = scale * signs[..., None, :] * q[..., :images, :]
    return white
