"""Distortions of images that a representation may notice: rotation, grayscale, noise, edges only."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.training.seeds import generator

__all__ = ["DISTORTIONS", "NOISE_STD", "Distortion"]

NOISE_STD = 0.1
"""Standard deviation of the noise, for images in [0, 1]."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Distortion:
    """A question about an image that its pixels answer: which of several things was done to it.

    Attributes:
        question: in words.
        answers: one for each label; the first is the image as it is.
        apply: makes images ``(B, C, S, S)`` in [0, 1] of such images, their labels ``(B,)`` and a CPU generator.
        least_chans: channels that an image needs for the answers to differ.

    Example:
        >>> rotation = DISTORTIONS["rotation"]
        >>> image = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]])
        >>> rotation(image, torch.tensor([1]), generator=torch.Generator()).flatten().tolist()  # a quarter to the left
        [0.2..., 0.4..., 0.1..., 0.3...]
    """

    question: str
    answers: tuple[str, ...]
    apply: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    least_chans: int = 1

    def labels(self, count: int, *seed: int) -> Tensor:
        """``(count,)`` answers, each equally often (as far as it divides), in an order drawn from the seed."""
        order = torch.randperm(count, generator=generator(*seed))
        return order % len(self.answers)

    def __call__(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """The distorted images; the caller's stay as they are.

        Args:
            images: ``(B, C, S, S)`` float in [0, 1].
            labels: ``(B,)`` the answer for each.
            generator: of the noise, on the CPU.

        Raises:
            UsageError: for images that are not square floats.
        """
        if images.dim() != 4 or images.shape[2] != images.shape[3] or not images.is_floating_point():
            raise UsageError(
                f"images of shape {tuple(images.shape)} and type {images.dtype} cannot be distorted: they must be "
                "(B, C, S, S), floats in [0, 1]."
            )
        return self.apply(images, labels.to(images.device), generator)


def _rotated(images: Tensor, labels: Tensor, _: torch.Generator) -> Tensor:
    turned = images.clone()
    for quarters in (1, 2, 3):
        turned[labels == quarters] = images[labels == quarters].rot90(quarters, (2, 3))
    return turned


def _gray(images: Tensor) -> Tensor:
    """``(B, 1, S, S)``: the luma of three channels, and one as it is."""
    if images.shape[1] < 3:
        return images[:, :1]
    return (images[:, :3] * images.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _without_color(images: Tensor, labels: Tensor, _: torch.Generator) -> Tensor:
    gray = torch.cat((_gray(images).expand(-1, 3, -1, -1), images[:, 3:]), 1)
    return torch.where((labels == 1)[:, None, None, None], gray, images)


def _noisy(images: Tensor, labels: Tensor, drawn: torch.Generator) -> Tensor:
    # Drawn on the CPU, for the same noise on every device.
    noise = NOISE_STD * torch.randn(images.shape, generator=drawn).to(images)
    return torch.where((labels == 1)[:, None, None, None], (images + noise).clamp(0, 1), images)


def _edges(images: Tensor, labels: Tensor, _: torch.Generator) -> Tensor:
    across = images.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    filters = torch.stack((across, across.T))[:, None]
    slopes = F.conv2d(F.pad(_gray(images), (1, 1, 1, 1), mode="replicate"), filters)
    edges = slopes.square().sum(1, keepdim=True).sqrt().clamp(max=1)
    return torch.where((labels == 1)[:, None, None, None], edges, images)


DISTORTIONS: dict[str, Distortion] = {
    "color": Distortion("color or grayscale", ("color", "grayscale"), _without_color, least_chans=3),
    "rotation": Distortion("rotation", ("0°", "90°", "180°", "270°"), _rotated),
    "noise": Distortion("original or corrupted by noise", ("original", "noise"), _noisy),
    "sobel": Distortion("original or Sobel-filtered", ("original", "Sobel"), _edges),
}
"""The rows of SimCLR's table 3: Chen et al., ICML 2020, arXiv:2002.05709."""
