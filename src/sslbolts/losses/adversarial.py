"""The loss of a network that tells what is real from what was generated."""

import torch.nn.functional as F
from torch import Tensor

from sslbolts.losses.precision import full_precision

__all__ = ["adversarial"]


@full_precision
def adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of a discriminator, the mean of its halves: `ln 2` where it gives one half to all.

    `1/2 [mean softplus(-real) + mean softplus(fake)]`. With its arguments exchanged it is the objective of what is
    discriminated, labels swapped: BiGAN's generator and encoder share ``adversarial(fake, real)``.

    Args:
        real: ``(B,)``, logits of what is real.
        fake: ``(B',)``, of what was generated.

    Returns:
        Scalar, at least 0.

    Source: Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014, arXiv:1406.2661; Donahue et al., Adversarial
    Feature Learning, ICLR 2017, arXiv:1605.09782.

    Example:
        >>> import torch
        >>> adversarial(torch.zeros(4), torch.zeros(4)).item()
        0.6931...
    """
    loss: Tensor = (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    return loss
