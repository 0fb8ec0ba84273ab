"""BiGAN's networks: an encoder of images, a generator, and a discriminator of pairs of an image and its latents."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.networks.deconvolution import doublings

__all__ = ["BiGANEncoder", "BiGANGenerator", "JointDiscriminator", "squash"]

_EPS = 1e-8  # of batch norms
_STD = 0.02  # of weights at the beginning


def squash(outputs: Tensor) -> Tensor:
    """Latents in [-1, 1], where the generator's are drawn, of an encoder's outputs `a`: `2 s(a) - 1 = tanh(a / 2)`.

    Example:
        >>> squash(torch.tensor([0.0, 50.0])).tolist()
        [0.0, 1.0]
    """
    return torch.tanh(outputs / 2)


class BiGANEncoder(nn.Module):
    """AlexNet's convolutions for small images, with batch norm: ``(B, C, H, W) -> (B, 256 s s)``, with `s` 4 at 64.

    Args:
        image_size: side of the images: 64 and 112 in the paper, whose last maps have 4 and 7 pixels.
        in_chans: channels of the images.

    Raises:
        UsageError: for images of another size.

    Source: Donahue et al., Adversarial Feature Learning, ICLR 2017, arXiv:1605.09782; layer by layer as in the official
    code.

    Example:
        >>> BiGANEncoder().num_features, BiGANEncoder(112).num_features
        (4096, 12544)
    """

    def __init__(self, image_size: int = 64, *, in_chans: int = 3) -> None:
        super().__init__()
        if image_size < 8:
            raise UsageError(f"image_size={image_size}: BiGAN's encoder takes images of 8 pixels and more.")
        self.image_size = image_size

        def convolution(width: int, out: int, kernel: int, groups: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(width, out, kernel, padding=kernel // 2, groups=groups, bias=False)
            return [layer, nn.BatchNorm2d(out, eps=_EPS), nn.LeakyReLU(0.2)]

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, stride=2, padding=1)

        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, 96, 11, stride=4, padding=5, bias=False),
            nn.LeakyReLU(0.2),
            pool(),
            *convolution(96, 256, 5, groups=2),
            pool(),
            *convolution(256, 384, 3),
            *convolution(384, 384, 3, groups=2),
            *convolution(384, 256, 3, groups=2),
        )
        activations = [place for place, layer in enumerate(self.layers) if isinstance(layer, nn.LeakyReLU)]
        self.feature_info = tuple({"module": f"layers.{place}"} for place in activations)
        side = image_size
        for _ in range(4):  # a stride of 4, and two of 2
            side = (side + 1) // 2
        self.num_features = 256 * side**2
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        """The last maps, flat, of images ``(B, C, image_size, image_size)``."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"BiGAN's encoder for {self.image_size} pixels got images of {x.shape[-2]}x{x.shape[-1]}: give both "
                "the same image_size."
            )
        features: Tensor = self.layers(x).flatten(1)
        return features


class _Conditioned(nn.Module):
    """A convolution whose channels get a bias that is linear in the latents, before batch norm and activation."""

    def __init__(self, layer: nn.Module, width: int, latents: int, activation: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.bias = nn.Linear(latents, width, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=_EPS)
        self.activation = activation

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out: Tensor = self.activation(self.norm(self.layer(x) + self.bias(z)[:, :, None, None]))
        return out


class BiGANGenerator(nn.Module):
    """Images of latents: a linear layer to a map of 4 pixels, and transposed convolutions of 5x5 that see them too.

    Args:
        latents: how many numbers an image is made of.
        image_size: side of the images: 64 has layers of 512, 256, 128 and 64 channels, 32 all but the last.
        out_chans: channels of the images.
        width: an eighth of the channels at 4 pixels.

    Raises:
        UsageError: for a size that is not 4 doubled some times.

    Example:
        >>> BiGANGenerator(10, 16, width=4)(torch.rand(2, 10)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(self, latents: int, image_size: int = 64, *, out_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        count = doublings(image_size, 4, "generator_size", least=2)
        widths = [max(8 * width >> level, width) for level in range(count)]
        self.start = nn.Sequential(
            nn.Linear(latents, widths[0] * 16, bias=False),
            nn.BatchNorm1d(widths[0] * 16, eps=_EPS),  # of every unit by itself
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], 4, 4)),
        )
        self.layers = nn.ModuleList(
            _Conditioned(_doubling(size, out), out, latents, nn.ReLU(inplace=True)) for size, out in pairwise(widths)
        )
        self.last = _doubling(widths[-1], out_chans)
        _start(self)

    def forward(self, z: Tensor) -> Tensor:
        """Images ``(B, out_chans, image_size, image_size)`` in [-1, 1] of latents ``(B, latents)``."""
        x: Tensor = self.start(z)
        for layer in self.layers:
            x = layer(x, z)
        return squash(self.last(x))


class JointDiscriminator(nn.Module):
    """Logits of whether pairs are an image and the encoder's latents, or latents and the generator's image.

    All convolutions but the first see the latents. The last layer is zero at first: one half for every pair.

    Args:
        latents: how many latents an image has.
        image_size: side of the images: 64 has layers of 64, 128, 256 and 512 channels, 32 all but the last.
        in_chans: channels of the images.
        width: channels of the first layer.

    Raises:
        UsageError: for a size that is not 4 doubled twice or more: a single convolution would not see the latents.

    Example:
        >>> JointDiscriminator(10, 16, width=4)(torch.rand(2, 3, 16, 16), torch.rand(2, 10)).tolist()
        [0.0, 0.0]
    """

    def __init__(self, latents: int, image_size: int = 64, *, in_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        widths = [width * min(1 << level, 8) for level in range(doublings(image_size, 4, "generator_size", least=2))]
        self.first = nn.Sequential(_halving(in_chans, widths[0]), nn.LeakyReLU(0.2))
        self.layers = nn.ModuleList(
            _Conditioned(_halving(size, out), out, latents, nn.LeakyReLU(0.2)) for size, out in pairwise(widths)
        )
        self.last = nn.Linear(widths[-1] * 16, 1)
        _start(self)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """``(B,)`` of images ``(B, C, H, W)`` and latents ``(B, latents)``, both in [-1, 1]."""
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, z)
        logits: Tensor = self.last(x.flatten(1)).flatten()
        return logits


def _halving(width: int, out: int) -> nn.Module:
    return nn.Conv2d(width, out, 5, stride=2, padding=2, bias=False)


def _doubling(width: int, out: int) -> nn.Module:
    return nn.ConvTranspose2d(width, out, 5, stride=2, padding=2, output_padding=1, bias=False)


@torch.no_grad()
def _start(network: nn.Module) -> None:
    """Weights from `N(0, 0.02^2)`; those of the latents' biases by the size of the kernel beside them, 25 times."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for layer in network.modules():
        if isinstance(layer, _Conditioned):
            beside: Any = layer.layer
            nn.init.normal_(layer.bias.weight, std=_STD * beside.kernel_size[0] * beside.kernel_size[1])
