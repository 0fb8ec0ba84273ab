"""PCA-whitening of features, on their device and over all ranks."""

from typing import NamedTuple

import torch
from torch import Tensor

from sslbolts.checks.devices import with_float64
from sslbolts.distributed import all_sum, broadcast_
from sslbolts.errors import UsageError
from sslbolts.readouts.checks import without_autocast

__all__ = ["Whitening", "pca_whiten"]

_NUMBERS_AT_ONCE = 2**24  # of features that are in memory in float64 at one time


class Whitening(NamedTuple):
    """An affine map after which features are uncorrelated and of variance 1: ``(x - mean) @ projection``.

    Attributes:
        mean: ``(D,)``.
        projection: ``(D, d)``.
    """

    mean: Tensor
    projection: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """``(N, d)`` of features ``(N, D)``."""
        with without_autocast(features):
            white: Tensor = (features.to(self.mean.dtype) - self.mean) @ self.projection
        return white


@torch.no_grad()
def pca_whiten(features: Tensor, dim: int, *, eps: float = 1e-6) -> Whitening:
    r"""Fit a PCA to features and return the map onto its first `d` components, each divided by its deviation.

    .. math:: x \mapsto (x - \mu) U \Lambda^{-1/2}, \quad \frac{1}{N} \sum_n (x_n - \mu)(x_n - \mu)^T = U \Lambda U^T

    Moments are summed in float64 over all ranks; the map is the same on all of them.

    Args:
        features: ``(N, D)``, this rank's rows.
        dim: number of components `d`, at most `D`, with the largest variances.
        eps: least variance, as a fraction of the largest: what is below it is noise, and not blown up.

    Returns:
        the map, to be called on features.

    Raises:
        UsageError: if there are fewer than `d` features.

    Example:
        >>> x = torch.randn(500, 8) @ torch.randn(8, 8)
        >>> white = pca_whiten(x, 3)(x)
        >>> torch.allclose(white.T @ white / 500, torch.eye(3), atol=1e-4)
        True
    """
    if features.ndim != 2 or not 1 <= dim <= features.shape[1]:
        raise UsageError(f"features of shape {tuple(features.shape)} do not have {dim} principal components.")
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    home, features = features.device, with_float64(features)
    width = features.shape[1]
    rows = max(1, _NUMBERS_AT_ONCE // width)
    total = torch.zeros(width + 1, dtype=torch.float64, device=features.device)
    for part in torch.split(features, rows):
        total[:width] += part.double().sum(0)
    total[width] = len(features)
    total = all_sum(total)
    mean = total[:width] / total[width].clamp(min=1)
    products = torch.zeros(width, width, dtype=torch.float64, device=features.device)
    with without_autocast(features):
        for part in torch.split(features, rows):
            centered = part.double() - mean
            products += centered.T @ centered
    variances, directions = torch.linalg.eigh(all_sum(products) / total[width].clamp(min=1))
    variances, directions = variances.flip(0)[:dim], directions.flip(1)[:, :dim]
    projection = directions / variances.clamp(min=float(eps * variances[0].clamp(min=1e-30))).sqrt()
    whitening = Whitening(mean.to(dtype).to(home), projection.to(dtype).contiguous().to(home))
    broadcast_(whitening)  # the sign of an eigenvector is the library's choice
    return whitening
