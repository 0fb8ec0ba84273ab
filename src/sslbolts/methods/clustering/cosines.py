"""Embeddings and prototypes on the unit sphere, in full precision: in half precision codes would lose digits."""

import torch.nn.functional as F
from torch import Tensor

from sslbolts.losses.precision import full_precision

__all__ = ["cosines", "unit"]


@full_precision
def unit(z: Tensor) -> Tensor:
    """Embeddings ``(N, D)`` of length 1."""
    return F.normalize(z, dim=1)


@full_precision
def cosines(z: Tensor, prototypes: Tensor) -> Tensor:
    """``(N, K)``: products of embeddings ``(N, D)`` and prototypes ``(K, D)``, all of length 1."""
    return z @ prototypes.T
