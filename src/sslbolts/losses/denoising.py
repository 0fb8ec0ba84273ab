"""The denoising autoencoder's loss."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["DenoisingKind", "denoising"]

DenoisingKind = Literal["bce", "mse"]
"""Cross-entropy of logits, summed over an image; or squared error, averaged over everything."""


@full_precision
def denoising(outputs: Tensor, clean: Tensor, *, kind: DenoisingKind, weights: Tensor | None = None) -> Tensor:
    """How far a network's outputs are from the clean images, of which it saw corrupted ones.

    Args:
        outputs: ``(B, C, H, W)``, logits of the values for ``"bce"``, the values for ``"mse"``.
        clean: ``(B, C, H, W)``, in [0, 1] for ``"bce"``.
        kind: ``"bce"``: `-sum_d [x log s(y) + (1 - x) log(1 - s(y))]`, the mean over images; ``"mse"``: `(y - x)^2`,
            the mean over images and entries.
        weights: ``(B, C, H, W)``, of each entry's term; None for 1.

    Returns:
        Scalar, at least 0.

    Source: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, ICML 2008; weights:
    Stacked Denoising Autoencoders, JMLR 11, 2010, section 4.2.

    Example:
        >>> import torch
        >>> denoising(torch.zeros(2, 3, 4, 4), torch.rand(2, 3, 4, 4), kind="bce").item()  # 48 ln 2
        33.27...
    """
    one_of(get_args(DenoisingKind), kind=kind)
    if outputs.shape != clean.shape:
        raise UsageError(f"outputs {tuple(outputs.shape)} have not the shape of the images {tuple(clean.shape)}.")
    if kind == "mse":
        errors = (outputs - clean).square()
    else:
        errors = F.binary_cross_entropy_with_logits(outputs, clean, reduction="none")
    errors = errors if weights is None else errors * weights
    return errors.mean() if kind == "mse" else errors.sum() / len(clean)
