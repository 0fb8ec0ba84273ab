"""Regression of one view's target from the other: no negatives."""

import torch.nn.functional as F
from torch import Tensor

from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["byol_regression", "negative_cosine"]


@full_precision
def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    r"""Negative cosine similarity between predictions and targets, `-mean cos(p, stopgrad(z))`.

    Args:
        p: ``(B, D)`` predictions.
        z: ``(B, D)`` targets; no gradient flows into them.

    Returns:
        Scalar in [-1, 1].

    Raises:
        UsageError: if the shapes differ.

    Source: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566, equation 1.

    Example:
        >>> import torch
        >>> p = torch.randn(4, 8)
        >>> round(negative_cosine(p, 3 * p).item(), 4)
        -1.0
    """
    one_shape("negative_cosine", p=p, z=z)
    return -F.cosine_similarity(p, z.detach(), dim=1).mean()


@full_precision
def byol_regression(p: Tensor, z: Tensor) -> Tensor:
    r"""Mean squared distance of L2-normalized predictions and targets, `mean |p̂ - ẑ|² = 2 - 2 mean cos(p, z)`.

    BYOL's loss is the sum, not the mean, of this over both directions.

    Args:
        p: ``(B, D)`` predictions of the student.
        z: ``(B, D)`` embeddings of the teacher; no gradient flows into them.

    Returns:
        Scalar in [0, 4].

    Raises:
        UsageError: if the shapes differ.

    Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv:2006.07733, equation 2.

    Example:
        >>> import torch
        >>> p = torch.tensor([[1.0, 0.0]])
        >>> byol_regression(p, torch.tensor([[0.0, 1.0]])).item()
        2.0
    """
    one_shape("byol_regression", p=p, z=z)
    distance = F.normalize(p, dim=1) - F.normalize(z.detach(), dim=1)
    return distance.square().sum(dim=1).mean()
