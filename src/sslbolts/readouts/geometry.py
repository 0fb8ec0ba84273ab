"""Places of embeddings on the sphere: alignment, uniformity, spread."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.readouts.checks import as_features, labeled, number_of_classes, without_autocast

__all__ = ["alignment", "class_separation", "normalized_std", "uniformity"]


@torch.no_grad()
def normalized_std(z: Tensor) -> Tensor:
    r"""Standard deviation of L2-normalized embeddings, averaged over dimensions: 0 when collapsed to a point.

    `1/D Σ_d std_i(z_id / |z_i|)` (N - 1 in the denominator); `1/√D` when they are spread evenly over the sphere.

    Args:
        z: ``(N, D)``, at least two rows.

    Returns:
        A scalar.

    Source: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566, figure 2.

    Example:
        >>> round(normalized_std(torch.tensor([[3.0, 4.0], [6.0, 8.0], [9.0, 12.0]])).item(), 6)
        0.0
    """
    return F.normalize(as_features(z, "z", min_rows=2)).std(0).mean()


@torch.no_grad()
def alignment(z1: Tensor, z2: Tensor, *, alpha: float = 2.0) -> Tensor:
    r"""Mean distance of the two views of an image on the unit sphere; 0 is perfect.

    `1/N Σ_i |z1_i/|z1_i| - z2_i/|z2_i||^α`.

    Args:
        z1, z2: embeddings ``(N, D)`` of two views, row for row.
        alpha: `α > 0`.

    Returns:
        A scalar in [0, 2^α].

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, arXiv:2005.10242.

    Example:
        >>> round(alignment(torch.eye(2), torch.eye(2).flip(0)).item(), 6)  # orthogonal: the squared distance is 2
        2.0
    """
    z1, z2 = as_features(z1, "z1"), as_features(z2, "z2")
    if z1.shape != z2.shape:
        raise UsageError(
            f"z1 has shape {tuple(z1.shape)} and z2 {tuple(z2.shape)}: they are two views of the same images."
        )
    distance: Tensor = torch.linalg.vector_norm(F.normalize(z1) - F.normalize(z2), dim=1)
    return distance.pow(alpha).mean()


@torch.no_grad()
def uniformity(z: Tensor, *, t: float = 2.0) -> Tensor:
    r"""Evenness of embeddings on the unit sphere; lower is more even, 0 is a single point.

    `log( 1/(N(N-1)/2) Σ_{i<j} exp(-t |z_i - z_j|²) )` with L2-normalized `z`.

    Args:
        z: ``(N, D)``, at least two rows; the cost grows with `N²`.
        t: `t > 0`.

    Returns:
        A scalar in [-4t, 0].

    Source: Wang and Isola, as for :func:`alignment`.

    Example:
        >>> uniformity(torch.eye(2)).item()  # two orthogonal points: exp(-2 * 2)
        -4.0
    """
    z = F.normalize(as_features(z, "z", min_rows=2))
    n = len(z)
    sums = []
    with without_autocast(z):
        for start in range(0, n, 1024):
            rows = z[start : start + 1024]
            exponent = -2 * t * (1 - rows @ z.T)
            # Each pair once: columns beyond the row's own index.
            later = torch.arange(n, device=z.device) > torch.arange(start, start + len(rows), device=z.device)[:, None]
            sums.append(exponent.masked_fill(~later, -torch.inf).flatten().logsumexp(0))
    return torch.stack(sums).logsumexp(0) - math.log(n * (n - 1) / 2)


@torch.no_grad()
def class_separation(features: Tensor, targets: Tensor, *, num_classes: int | None = None) -> Tensor:
    r"""Class separation `R²`: the share of the cosine distances between images that class membership explains.

    `R² = 1 - d_within / d_total` with mean pairwise cosine distances, within each class and over all classes, every
    class having the same weight; 1 when each class is one direction, 0 when classes do not differ.

    Args:
        features: ``(N, D)``.
        targets: labels ``(N,)``, -1 for a row to leave out.
        num_classes: number of classes, None for one more than the largest label; classes without a row are left out.

    Returns:
        A scalar; 0 if all features are equal.

    Source: Kornblith et al., Why Do Better Loss Functions Lead to Less Transferable Features?, NeurIPS 2021,
    arXiv:2010.16402.

    Example:
        >>> class_separation(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])).item()
        1.0
    """
    features = as_features(features, "features")
    features, targets = labeled(features, targets, width=features.shape[1])
    number_of_classes(targets, num_classes)
    unit = F.normalize(features)
    present, place, count = torch.unique(targets, return_inverse=True, return_counts=True)
    # A mean cosine over pairs is a product of mean unit vectors, so no pair is ever formed.
    mean = unit.new_zeros(len(present), unit.shape[1]).index_add_(0, place, unit) / count[:, None]
    within = 1 - mean.square().sum(1).mean()
    total = 1 - mean.mean(0).square().sum()
    return torch.where(total > torch.finfo(total.dtype).eps * len(unit), 1 - within / total, torch.zeros_like(total))
