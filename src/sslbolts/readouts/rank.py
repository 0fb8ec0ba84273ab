"""Number of dimensions that a representation uses."""

import torch
from torch import Tensor

from sslbolts.checks.devices import with_float64
from sslbolts.readouts.checks import as_features, without_autocast

__all__ = ["effective_rank", "rankme"]


@torch.no_grad()
def rankme(features: Tensor, *, eps: float = 1e-7) -> Tensor:
    r"""RankMe: the smooth rank of the feature matrix, between 1 and `min(N, D)`.

    `exp(-Σ_k p_k log p_k)` with `p_k = σ_k / Σ_j σ_j + ε` and `σ` the singular values of the features as they are
    (not centered).

    Args:
        features: ``(N, D)``.
        eps: `ε`.

    Returns:
        A float64 scalar (on the CPU where the device has no float64); NaN for features that are not finite.

    Source: Garrido et al., RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations
    by Their Rank, ICML 2023, arXiv:2210.02885.

    Example:
        >>> round(rankme(torch.eye(8)).item(), 3)
        8.0
    """
    features = with_float64(as_features(features, "features"))
    singular = _spectrum(features).sqrt()
    p = singular / singular.sum().clamp(min=torch.finfo(singular.dtype).tiny) + eps
    return (-(p * p.log()).sum()).exp()


@torch.no_grad()
def effective_rank(features: Tensor) -> Tensor:
    r"""Effective rank of the features' covariance: the number of directions over which the variance spreads.

    `exp(-Σ_k p_k log p_k)` with `p_k = λ_k / Σ_j λ_j` and `λ` the eigenvalues of the covariance. It is 1 when all
    variance lies along one direction, `D` when it is isotropic, and, unlike :func:`rankme`, blind to the mean.

    Args:
        features: ``(N, D)``, at least two rows.

    Returns:
        A float64 scalar (on the CPU where the device has no float64); 0 if all rows are equal, NaN for features that
        are not finite.

    Source: Roy and Vetterli, The Effective Rank: A Measure of Effective Dimensionality, EUSIPCO 2007.

    Example:
        >>> line = torch.arange(5.0)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
        >>> round(effective_rank(line + 100).item(), 3)
        1.0
    """
    features = with_float64(as_features(features, "features", min_rows=2))
    variance = _spectrum(features - features.mean(0))
    p = variance / variance.sum()
    rank = torch.special.entr(p).sum().exp()
    # Rounding leaves equal rows a spectrum too: below float32's resolution of the features' size there is no variance.
    floor = (torch.finfo(features.dtype).eps * features.abs().max()).square() * features.numel()
    return torch.where(variance.sum() <= floor, torch.zeros_like(rank), rank)  # NaN stays NaN


def _spectrum(x: Tensor) -> Tensor:
    """Squared singular values, from the smaller Gram matrix, in float64; NaN if not finite."""
    with without_autocast(x):
        small = x if len(x) >= x.shape[1] else x.T  # (rows, the smaller side)
        gram = x.new_zeros(small.shape[1], small.shape[1], dtype=torch.float64)
        for rows in torch.split(small, 8192):
            gram.addmm_(rows.double().T, rows.double())
        if not bool(gram.isfinite().all()):  # the solver would raise
            return gram.new_full(gram.shape[:1], torch.nan)
        eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
        return eigenvalues.clamp(min=0)
