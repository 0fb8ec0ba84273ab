"""The context encoder's networks: an encoder of images with a hole, a decoder of the hole, and its discriminator."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.networks.deconvolution import deconvolution, doublings

__all__ = ["ContextEncoderNet", "HoleDecoder", "HoleDiscriminator"]


def _widths(side: int, width: int, name: str) -> list[int]:
    """Channels of the convolutions that halve an image of some side down to 4 pixels."""
    count = doublings(side, 4, name)
    return [width] * max(0, count - 4) + [width << level for level in range(min(count, 4))]


def _convolutions(in_chans: int, widths: list[int]) -> list[nn.Module]:
    """Half the size each time: convolution of 4x4, batch norm (not at first), leaky ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(in_chans, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for width, out in pairwise(widths):
        layers += [nn.Conv2d(width, out, 4, stride=2, padding=1), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)]
    return layers


@torch.no_grad()
def _start_as_published(network: nn.Module) -> None:
    """Weights from `N(0, 0.02^2)`, scales of batch norms from `N(1, 0.02^2)`, biases at 0.

    Biases of convolutions stay there: the official code sets them to 0 before every step.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias).requires_grad_(False)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class ContextEncoderNet(nn.Module):
    """Convolutions of 4x4 down to 4 pixels, and one over all of them to the bottleneck: ``(B, C, H, W) -> (B, D)``.

    Args:
        image_size: side of the images: 128 has convolutions of 64, 64, 128, 256 and 512 channels, 64 and 32 pixels have
            64 and up without the first, 256 has one more.
        in_chans: channels of the images.
        width: channels of the first convolution.
        bottleneck_dim: `D`, width of the features; 4000 in the README, 100 in the code.

    Raises:
        UsageError: for a size that is not 4 doubled some times; for images of another size.

    Source: Pathak et al., Context Encoders: Feature Learning by Inpainting, CVPR 2016, arXiv:1604.07379; layer by layer
    as in the official code.

    Example:
        >>> encoder = ContextEncoderNet(32, width=8, bottleneck_dim=16)
        >>> encoder(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self, image_size: int = 128, *, in_chans: int = 3, width: int = 64, bottleneck_dim: int = 4000
    ) -> None:
        super().__init__()
        widths = _widths(image_size, width, "image_size")
        self.image_size = image_size
        self.num_features = bottleneck_dim
        self.layers = nn.Sequential(*_convolutions(in_chans, widths))
        self.bottleneck = nn.Conv2d(widths[-1], bottleneck_dim, 4)
        activations = [place for place, layer in enumerate(self.layers) if isinstance(layer, nn.LeakyReLU)]
        self.feature_info = tuple({"module": f"layers.{place}"} for place in activations)
        _start_as_published(self)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, image_size, image_size)``, before norm and activation."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"the context encoder's network for {self.image_size} pixels got images of "
                f"{x.shape[-2]}x{x.shape[-1]}: give both the same image_size."
            )
        features: Tensor = self.bottleneck(self.layers(x)).flatten(1)
        return features


class HoleDecoder(nn.Module):
    """The pixels of a square from the features of an image: transposed convolutions from 1 pixel to 4 and on.

    Args:
        features: width of the features.
        side: of the square: 64 has layers of 512, 256, 128 and 64 channels.
        out_chans: channels of the images.
        width: channels of the last layer but the pixels.

    Raises:
        UsageError: for a side that is not 4 doubled some times.

    Example:
        >>> HoleDecoder(16, 8, width=4)(torch.rand(2, 16)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, features: int, side: int, *, out_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        widths = _widths(side, width, "output_size")[::-1]
        layers: list[nn.Module] = [nn.BatchNorm2d(features), nn.LeakyReLU(0.2)]
        layers += [nn.ConvTranspose2d(features, widths[0], 4), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for size, out in pairwise(widths):
            layers += deconvolution(size, out)
        self.layers = nn.Sequential(
            *layers, nn.ConvTranspose2d(widths[-1], out_chans, 4, stride=2, padding=1), nn.Tanh()
        )
        _start_as_published(self)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, out_chans, side, side)`` in [-1, 1] of features ``(B, D)``."""
        pixels: Tensor = self.layers(features[:, :, None, None])
        return pixels


class HoleDiscriminator(nn.Module):
    """Logits of whether squares are parts of images, from their pixels alone.

    Args:
        side: of the square: 64 has layers of 64, 128, 256 and 512 channels.
        in_chans: channels of the images.
        width: channels of the first layer.

    Example:
        >>> HoleDiscriminator(8, width=4)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2])
    """

    def __init__(self, side: int, *, in_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        widths = _widths(side, width, "output_size")
        self.layers = nn.Sequential(*_convolutions(in_chans, widths), nn.Conv2d(widths[-1], 1, 4))
        _start_as_published(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(B,)`` of squares ``(B, C, side, side)`` in [-1, 1]."""
        logits: Tensor = self.layers(pixels).flatten()
        return logits
