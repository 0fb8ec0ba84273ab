"""Decorrelating losses: views agree, and no two dimensions of their embeddings are correlated."""

from typing import Literal, NamedTuple, get_args

from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import one_of
from sslbolts.distributed import all_sum, gather, world_size
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = [
    "VICRegScaling",
    "VICRegTerms",
    "barlow_twins",
    "cross_correlation",
    "redundancy",
    "vicreg",
    "vicreg_terms",
]

VICRegScaling = Literal["code", "listing", "equation"]
"""The three published forms of VICReg's loss: see :func:`vicreg`."""


class VICRegTerms(NamedTuple):
    """Scalars: distance of the views, lack of variance, and covariance, before they are weighed."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


@full_precision
def cross_correlation(z1: Tensor, z2: Tensor, *, normalize: bool = True, eps: float = 1e-5) -> Tensor:
    r"""Correlation of every dimension of one view with every dimension of the other, over the global batch.

    .. math:: C_{ij} = \frac{1}{N} \sum_n \hat z^1_{ni} \hat z^2_{nj}, \quad
              \hat z_{ni} = \frac{z_{ni} - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}}

    with mean and (biased) variance of each view over all `N` images of all ranks. Every sum over ranks has its exact
    gradient.

    Args:
        z1: ``(B, D)`` embeddings of the first view.
        z2: ``(B, D)`` embeddings of the second view.
        normalize: standardize the dimensions; without, the embeddings are multiplied as they are.
        eps: `ε`, of the variance.

    Returns:
        ``(D, D)``, equal on all ranks.

    Raises:
        UsageError: if the shapes differ.

    Source: Zbontar et al., Barlow Twins, ICML 2021, arXiv:2103.03230, equation 2.

    Example:
        >>> import torch
        >>> z = torch.randn(64, 3)
        >>> torch.allclose(cross_correlation(z, 5 * z + 1).diagonal(), torch.ones(3), atol=1e-4)
        True
    """
    one_shape("cross_correlation", z1=z1, z2=z2)
    images = len(z1) * world_size()
    if normalize:
        z1, z2 = (_standardized(z, images, eps) for z in (z1, z2))
    correlation: Tensor = all_sum(z1.T @ z2 / images)
    return correlation


def _standardized(z: Tensor, images: int, eps: float) -> Tensor:
    z = z - all_sum(z.sum(0)) / images
    variance = all_sum(z.square().sum(0)) / images
    standardized: Tensor = z * (variance + eps).rsqrt()
    return standardized


@full_precision
def redundancy(correlation: Tensor, lambd: float = 0.0051) -> Tensor:
    r"""Distance of a cross-correlation matrix from the identity, `Σ_i (1 - C_ii)² + λ Σ_{i≠j} C_ij²`.

    Args:
        correlation: ``(D, D)``, of :func:`cross_correlation`.
        lambd: `λ` >= 0.

    Returns:
        Scalar >= 0.

    Source: Zbontar et al., Barlow Twins, ICML 2021, arXiv:2103.03230, equation 1.

    Example:
        >>> import torch
        >>> redundancy(torch.ones(3, 3), lambd=0.5).item()
        3.0
    """
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + lambd * off_diagonal


def barlow_twins(z1: Tensor, z2: Tensor, lambd: float = 0.0051, *, normalize: bool = True, eps: float = 1e-5) -> Tensor:
    r"""Redundancy reduction: the cross-correlation of two views' embeddings is pulled to the identity.

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2

    `C` and the statistics that standardize the embeddings are those of the global batch, with exact gradient: on any
    number of ranks the averaged gradient is that of one process. The official code's sum over ranks passes the
    gradient on unsummed, so that there it shrinks with the number of ranks (half of it on two).

    Args:
        z1: ``(B, D)`` embeddings of the first view.
        z2: ``(B, D)`` embeddings of the second view.
        lambd: `λ` >= 0, the weight of the off-diagonal terms; there are `D - 1` times as many of them.
        normalize: standardize each dimension over the batch first.
        eps: of the variance.

    Returns:
        Scalar in float32 (float64 for float64 embeddings), equal on all ranks; `D` if nothing is correlated.

    Raises:
        UsageError: if the shapes differ.

    Source: Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021,
    arXiv:2103.03230, equation 1.

    Example:
        >>> import torch
        >>> z = torch.randn(256, 4)
        >>> bool(barlow_twins(z, z) < barlow_twins(z, z.roll(1, dims=0)))
        True
    """
    return redundancy(cross_correlation(z1, z2, normalize=normalize, eps=eps), lambd)


@full_precision
def vicreg_terms(z1: Tensor, z2: Tensor, *, scaling: VICRegScaling = "code", eps: float = 1e-4) -> VICRegTerms:
    """The three terms of :func:`vicreg` before they are weighed, for a method that logs them.

    Args:
        z1: ``(B, D)``.
        z2: ``(B, D)``.
        scaling: as in :func:`vicreg`.
        eps: as in :func:`vicreg`.

    Returns:
        three scalars; the first is that of this rank's images, the others are of the global batch.
    """
    one_shape("vicreg", z1=z1, z2=z2)
    one_of(get_args(VICRegScaling), scaling=scaling)
    invariance = F.mse_loss(z1, z2)
    if scaling == "equation":
        invariance = invariance * z1.shape[1]
    z1, z2 = gather(z1), gather(z2)  # (N, D)
    if len(z1) < 2:
        raise UsageError("vicreg needs two images or more: one has no variance.")
    variance = (_missing_variance(z1, eps) + _missing_variance(z2, eps)) / (2 if scaling == "code" else 1)
    return VICRegTerms(invariance, variance, _covariance(z1) + _covariance(z2))


def _missing_variance(z: Tensor, eps: float) -> Tensor:
    return (1 - (z.var(0) + eps).sqrt()).relu().mean()


def _covariance(z: Tensor) -> Tensor:
    z = z - z.mean(0)
    covariance = z.T @ z / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    scaling: VICRegScaling = "code",
    eps: float = 1e-4,
) -> Tensor:
    r"""Variance, invariance, covariance: views agree, every dimension varies, and no two are correlated.

    .. math:: \lambda \frac{|z^1 - z^2|^2}{N D} + \mu \frac{v(z^1) + v(z^2)}{2} + \nu \, (c(z^1) + c(z^2)), \\
              v(z) = \frac{1}{D} \sum_j \max(0, 1 - \sqrt{\mathrm{Var}(z_j) + \epsilon}), \quad
              c(z) = \frac{1}{D} \sum_{i \ne j} \mathrm{Cov}(z)_{ij}^2

    Variances and covariances (over `N - 1`) are those of the global batch, gathered with gradient: on any number of
    ranks the averaged gradient is that of one process.

    Three scalings are published under one set of weights. The official code (the form above, the default) halves the
    variance term; the paper's listing sums it over both views; its equations 5 and 6 also sum the squared distance over
    the dimensions instead of averaging it.

    Args:
        z1: ``(B, D)`` embeddings of the first view, not normalized.
        z2: ``(B, D)`` embeddings of the second view.
        invariance: weight `λ`.
        variance: weight `μ`.
        covariance: weight `ν`.
        scaling: "code", "listing" or "equation".
        eps: `ε`, of the variance.

    Returns:
        Scalar in float32 (float64 for float64 embeddings).

    Raises:
        UsageError: if the shapes differ, the scaling is unknown, or there is only one image.

    Source: Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
    ICLR 2022, arXiv:2105.04906.

    Example:
        >>> import torch
        >>> z = torch.zeros(8, 4)
        >>> round(vicreg(z, z).item(), 2), round(vicreg(z, z, scaling="listing").item(), 2)  # no variance at all
        (24.75, 49.5)
    """
    terms = vicreg_terms(z1, z2, scaling=scaling, eps=eps)
    return invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance
