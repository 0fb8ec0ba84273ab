"""Corruptions of images by noise, for a network that takes them back."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from sslbolts.checks import one_of

__all__ = ["Corrupted", "Corruption", "corrupt"]

Corruption = Literal["masking", "gaussian", "salt_and_pepper"]
"""Entries set to 0; a normal number added to each; entries set to 0 or 1."""


class Corrupted(NamedTuple):
    """Images and what was changed in them.

    Attributes:
        images: ``(B, C, H, W)``.
        where: ``(B, C, H, W)``, True where an entry was changed.
    """

    images: Tensor
    where: Tensor


def corrupt(images: Tensor, noise: Tensor, *, kind: Corruption, amount: float) -> Corrupted:
    """Images with noise: every channel of every pixel by itself.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].
        noise: ``(B, C, H, W)``: standard normal numbers for ``"gaussian"``, which leaves the range; else uniform ones
            in [0, 1).
        kind: ``"salt_and_pepper"`` sets half of the entries that it changes to 0 and half to 1.
        amount: share of entries that are changed; the standard deviation of ``"gaussian"``.

    Raises:
        UsageError: for another kind.

    Source: Vincent et al., Stacked Denoising Autoencoders, JMLR 11, 2010, section 5.

    Example:
        >>> noise = torch.tensor([0.05, 0.2, 0.9]).view(1, 1, 1, 3)
        >>> corrupt(torch.full((1, 1, 1, 3), 0.5), noise, kind="salt_and_pepper", amount=0.25).images.flatten()
        tensor([0.0000, 1.0000, 0.5000])
    """
    one_of(get_args(Corruption), kind=kind)
    noise = noise.to(images.dtype)
    if kind == "gaussian":
        return Corrupted(images + amount * noise, torch.ones_like(images, dtype=torch.bool))
    where = noise < amount
    changed = images.masked_fill(where, 0.0)
    if kind == "salt_and_pepper":
        changed = changed.masked_fill(where & (noise >= amount / 2), 1.0)
    return Corrupted(changed, where)
