"""The distribution of the training images' colors."""

import torch
from torch import Tensor

from sslbolts.distributed import all_sum
from sslbolts.losses.colorization import rebalancing_weights
from sslbolts.training.memory import Memory
from sslbolts.transforms.lab import NUM_COLORS

__all__ = ["ColorPrior"]


class ColorPrior(Memory):
    """How often each color has occurred in training so far: the mean soft code of all pixels, of all ranks.

    It moves with every optimizer step, and the less the more pixels it has seen; in the first step all colors still
    weigh alike.

    Args:
        num_bins: `Q`.

    Attributes:
        prior: ``(Q,)``, sums to 1; all 0 before the first step.
        pixels: how many it is the mean of.

    Example:
        >>> colors = ColorPrior(3)
        >>> colors.stage(torch.tensor([[0.25, 0.75, 0.0]]), torch.tensor([8]))
        >>> colors.commit()
        >>> colors.prior.tolist(), colors.pixels.item(), colors.weights(1.0).tolist()
        ([0.25, 0.75, 0.0], 8, [1.0, 1.0, 0.0])
    """

    prior: Tensor
    pixels: Tensor

    def __init__(self, num_bins: int = NUM_COLORS) -> None:
        super().__init__()
        self.register_buffer("prior", torch.zeros(num_bins))
        self.register_buffer("pixels", torch.zeros((), dtype=torch.int64))

    def update(self, means: Tensor, counts: Tensor) -> None:
        """Takes the mean codes ``(N, Q)`` of `N` sets of pixels, and their sizes ``(N,)``."""
        means = means.to(self.prior.dtype)
        codes = all_sum((counts[:, None] * means).sum(0))  # (Q,)
        number = all_sum(counts.sum())
        self.pixels.add_(number)
        share = number.to(means.dtype) / self.pixels
        self.prior.lerp_(codes / number, share)

    def weights(self, lam: float) -> Tensor:
        """The weight ``(Q,)`` of each bin, see :func:`~sslbolts.losses.colorization.rebalancing_weights`."""
        return rebalancing_weights(self.prior, lam)

    @property
    def colors_seen(self) -> Tensor:
        """The part of all bins that has occurred."""
        return (self.prior > 0).to(self.prior.dtype).mean()
