"""Decoders of transposed convolutions, from a small map to an image."""

from torch import nn

from sslbolts.errors import UsageError
from sslbolts.networks.taps import map_shapes

__all__ = ["MapDecoder", "deconvolution", "doublings", "map_form"]

_NARROWEST = 16


def deconvolution(width: int, out: int) -> list[nn.Module]:
    """Twice the size: transposed convolution of 4x4, batch norm, ReLU."""
    return [nn.ConvTranspose2d(width, out, 4, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def doublings(side: int, start: int, name: str, *, least: int = 1) -> int:
    """How often ``start`` must be doubled to be ``side``.

    Args:
        side: pixels.
        start: pixels.
        name: of ``side``, for the message.
        least: times at least.

    Raises:
        UsageError: if it never is.

    Example:
        >>> doublings(64, 4, "output_size")
        4
    """
    count = (side // start).bit_length() - 1
    if side < start << least or start << count != side:
        sizes = ", ".join(str(start << times) for times in range(least, least + 4))
        raise UsageError(f"{name}={side}: it must be {start} doubled some times: {sizes}, ...")
    return count


def map_form(network: nn.Module, layer: str, in_chans: int = 3) -> tuple[int, int]:
    """Channels of a layer's map, and how many times smaller it is than the image; no batch norm notices.

    Args:
        network: takes images of 64 pixels.
        layer: name of a submodule.
        in_chans: channels of the images.

    Raises:
        UsageError: for a layer that gives no map.

    Example:
        >>> map_form(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU()), "1")
        (8, 4)
    """
    ((_, width, height, _),) = map_shapes(network, [layer], in_chans)
    return width, 64 // height


class MapDecoder(nn.Sequential):
    """An image of any range from the map of an encoder: transposed convolutions, then a convolution of 3x3.

    ``(B, out_chans, stride * h, stride * w)`` of maps ``(B, width, h, w)``.

    Args:
        width: channels of the map.
        out_chans: channels of the image.
        stride: how many times larger the image is, a power of two.
        dim: channels after the first transposed convolution; each further one has half, but not below 16.

    Raises:
        UsageError: for another stride.

    Example:
        >>> import torch
        >>> MapDecoder(512, 3, 8, dim=64)(torch.zeros(2, 512, 4, 4)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, width: int, out_chans: int, stride: int, *, dim: int) -> None:
        layers: list[nn.Module] = []
        for level in range(doublings(stride, 1, "the stride of the backbone's map") if stride > 1 else 0):
            out = max(dim >> level, min(dim, _NARROWEST))
            layers += deconvolution(width, out)
            width = out
        super().__init__(*layers, nn.Conv2d(width, out_chans, 3, padding=1))
