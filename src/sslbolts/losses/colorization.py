"""Losses on the colors of gray pixels, and on the lightness of colors."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["colorization", "constant_guess", "pixel_weights", "rebalancing_weights", "split_brain"]


@full_precision
def colorization(logits: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of soft color codes with predicted ones, every pixel weighed by the rarity of its color.

    The mean over all `P` pixels of ``v_p CE(code_p, softmax(logits_p))``, pixels of weight 0 included.

    Args:
        logits: ``(P, Q)``.
        codes: ``(P, Q)``, rows sum to 1.
        weights: ``(P,)``, `v`; see :func:`pixel_weights`.

    Returns:
        Scalar, at least 0.

    Source: Zhang et al., Colorful Image Colorization, ECCV 2016, arXiv:1603.08511, equation 2. The published layer
    reports the unweighted loss and weighs the gradient, which is the same gradient. Its denominator is not known: here
    it is the number of pixels.

    Example:
        >>> codes = torch.eye(4)
        >>> round(colorization(torch.zeros(4, 4), codes, torch.ones(4)).item(), 4)  # ln 4
        1.3863
    """
    if logits.shape != codes.shape or weights.shape != codes.shape[:1]:
        raise UsageError(
            f"logits {tuple(logits.shape)} and codes {tuple(codes.shape)} must be (P, Q), and weights "
            f"{tuple(weights.shape)} (P,)."
        )
    per_pixel = -(codes * logits.log_softmax(1)).sum(1)  # (P,)
    return (weights * per_pixel).mean()


@full_precision
def split_brain(color_logits: Tensor, colors: Tensor, lightness_logits: Tensor, lightness: Tensor) -> Tensor:
    """Cross-entropy of colors predicted from lightness, plus that of lightness predicted from colors.

    Args:
        color_logits: ``(P, Q)``.
        colors: ``(P,)`` int64, bins of ab.
        lightness_logits: ``(R, 100)``.
        lightness: ``(R,)`` int64, bins of L.

    Returns:
        Scalar, at least 0: the sum of two means over pixels.

    Source: Zhang et al., Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction, CVPR 2017,
    arXiv:1611.09842.

    Example:
        >>> zeros = torch.zeros(6, dtype=torch.int64)
        >>> round(split_brain(torch.zeros(6, 313), zeros, torch.zeros(6, 100), zeros).item(), 3)  # ln 313 + ln 100
        10.351
    """
    return F.cross_entropy(color_logits, colors) + F.cross_entropy(lightness_logits, lightness)


def rebalancing_weights(prior: Tensor, lam: float = 0.5) -> Tensor:
    """Weights of bins, ``1 / ((1 - lam) p + lam u)`` with `u` uniform over bins that occur, so that ``sum p w = 1``.

    A bin that does not occur has weight 0; the published code has none for any bin then (not a number).

    Args:
        prior: ``(Q,)``, how often each bin occurs; sums to 1, or is all 0 where nothing is known: weights of 1.
        lam: from 0, the inverse of the prior, to 1, no rebalancing.

    Returns:
        ``(Q,)``.

    Example:
        >>> [round(w, 3) for w in rebalancing_weights(torch.tensor([0.9, 0.1, 0.0])).tolist()]
        [0.882, 2.059, 0.0]
    """
    there = (prior > 0).to(prior.dtype)
    mixed = (1 - lam) * prior + lam * there / there.sum().clamp(min=1)
    weights = there / torch.where(prior > 0, mixed, 1)
    weights = weights / (prior * weights).sum().clamp(min=torch.finfo(prior.dtype).tiny)
    return torch.where(there.any(), weights, torch.ones_like(weights))


def pixel_weights(codes: Tensor, weights: Tensor) -> Tensor:
    """The weight ``(P,)`` of each pixel: of the bins' weights ``(Q,)``, that of which its code ``(P, Q)`` has most.

    Example:
        >>> pixel_weights(torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([3.0, 5.0])).tolist()
        [5.0, 3.0]
    """
    return weights[codes.argmax(1)]


@full_precision
def constant_guess(codes: Tensor, weights: Tensor) -> Tensor:
    """The least :func:`colorization` that one prediction for all pixels can have.

    Args:
        codes: ``(P, Q)``.
        weights: ``(P,)``.

    Example:
        >>> round(constant_guess(torch.eye(4), torch.ones(4)).item(), 4)  # ln 4
        1.3863
    """
    total = (weights[:, None] * codes).sum(0)  # (Q,)
    guess = total / total.sum().clamp(min=torch.finfo(total.dtype).tiny)
    log_likelihood: Tensor = torch.special.xlogy(total, guess).sum()
    return -log_likelihood / len(codes)
