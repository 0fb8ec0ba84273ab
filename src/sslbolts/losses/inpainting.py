"""Losses on the parts of an image that a network filled in."""

import torch.nn.functional as F
from torch import Tensor

from sslbolts.losses.precision import full_precision

__all__ = ["context_encoder", "masked_mse"]


@full_precision
def masked_mse(predictions: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the values in a mask: `|| M (x - F((1 - M) x)) ||^2` by their number.

    Args:
        predictions: ``(B, C, H, W)``.
        images: ``(B, C, H, W)``.
        mask: ``(H, W)`` or of the images' shape, 1 or True where a value counts.

    Returns:
        Scalar, at least 0.

    Source: Pathak et al., Context Encoders: Feature Learning by Inpainting, CVPR 2016, arXiv:1604.07379, equation 1.

    Example:
        >>> import torch
        >>> masked_mse(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.eye(4)).item()
        1.0
    """
    weights = mask.to(predictions.dtype).expand_as(predictions)
    errors: Tensor = (predictions - images).square() * weights
    return errors.sum() / weights.sum()


@full_precision
def context_encoder(
    predictions: Tensor,
    images: Tensor,
    fake_logits: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    adversarial_weight: float = 0.001,
) -> Tensor:
    """The context encoder's objective: squared error, and how surely the discriminator sees predictions as such.

    `a mean softplus(-D(p)) + (1 - a) mean(r (p - x)^2)` with `a` the adversarial weight; without logits the second mean
    alone.

    Args:
        predictions: ``(B, C, h, w)``, the predicted part.
        images: ``(B, C, h, w)``, the same part of the images.
        fake_logits: ``(B,)``, the discriminator's logits of the predictions; None without a discriminator.
        weights: `r`, ``(h, w)``, of the squared errors; they change the sum of the mean, not its denominator.
        adversarial_weight: `a`, in [0, 1).

    Returns:
        Scalar, at least 0.

    Source: Pathak et al., Context Encoders: Feature Learning by Inpainting, CVPR 2016, arXiv:1604.07379, equation 3;
    the weights are the official code's.

    Example:
        >>> import torch
        >>> round(context_encoder(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(2)).item(), 5)
        0.99969
    """
    errors = (predictions - images).square()
    error: Tensor = (errors if weights is None else errors * weights).mean()
    if fake_logits is None:
        return error
    return adversarial_weight * F.softplus(-fake_logits).mean() + (1 - adversarial_weight) * error
