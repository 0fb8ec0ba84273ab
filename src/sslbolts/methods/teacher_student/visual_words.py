"""The common part of BoWNet and OBoW: the inside of a teacher's map, and how many words its bags have."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.losses.bag_of_words import perplexities
from sslbolts.methods.base import SSLModule

__all__ = ["log_perplexities", "without_border"]


def without_border(maps: Tensor, level: str) -> Tensor:
    """Maps ``(B, C, H, W)`` without their outermost pixels, which have seen the padding.

    Args:
        maps: of at least 3 x 3 pixels.
        level: name of the layer that made them.

    Raises:
        UsageError: if nothing is left.

    Example:
        >>> without_border(torch.zeros(2, 8, 7, 7), "layer4").shape
        torch.Size([2, 8, 5, 5])
    """
    if min(maps.shape[2:]) < 3:
        raise UsageError(
            f'the maps of layer "{level}" have {tuple(maps.shape[2:])} pixels, and without their border none: name an '
            "earlier layer, or use larger images."
        )
    return maps[:, :, 1:-1, 1:-1]


def log_perplexities(method: SSLModule, bags: Sequence[Tensor]) -> None:
    """Logs how many words an image and a batch use, and ``train/perplexity_ratio``; bags ``(B, K)`` of each level."""
    of_image, of_batch = torch.stack([perplexities(bag) for bag in bags]).mean(0)
    values = {"image_perplexity": of_image, "batch_perplexity": of_batch, "perplexity_ratio": of_batch / of_image}
    for name, value in values.items():
        method.log(f"train/{name}", value, batch_size=len(bags[0]))
