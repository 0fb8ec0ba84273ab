"""The maps of a network's blocks, pooled to about as many values each."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.networks.taps import block_names, find_layer, layer_outputs, maps_of

__all__ = ["POOLED_VALUES", "PooledMaps", "as_map", "average_pooled", "fitting_groups", "kernel_of", "pooled_side"]

POOLED_VALUES = 9000

_KERNELS: dict[tuple[int, ...], tuple[int, int, int]] = {
    (64, 112, 112): (10, 10, 4),
    (256, 56, 56): (16, 8, 0),
    (512, 28, 28): (13, 5, 0),
    (1024, 14, 14): (8, 3, 0),
    (2048, 7, 7): (6, 1, 0),
    (96, 55, 55): (19, 4, 0),
    (256, 27, 27): (12, 3, 0),
    (384, 13, 13): (9, 1, 0),
    (256, 13, 13): (8, 1, 0),
}
"""VISSL's windows (side, stride, padding) for the maps ``(C, H, W)`` of its ResNet-50 and AlexNet."""


class PooledMaps(nn.Module):
    """Every block's map, adaptively max-pooled to about 9,000 values and flattened, from one pass of the images.

    Tokens of a vision transformer are laid out as the map that they are; class and register tokens are left out.

    Args:
        network: what takes the images.
        backbone: the part of it that the layers are in.
        layers: names of its submodules; None is all blocks, see :func:`~sslbolts.networks.taps.block_names`.
        values: about how many numbers are kept of each map.
        average: averages of the map's parts, see :func:`average_pooled`, in place of their maxima.

    Raises:
        UsageError: for a layer that is not there, or blocks that are not known.

    Example:
        >>> import torch
        >>> from sslbolts.networks.backbones import create_backbone
        >>> network = create_backbone("resnet18").eval()
        >>> maps = PooledMaps(network, network)
        >>> maps.layers, [tuple(rows.shape) for rows in maps(torch.zeros(1, 3, 224, 224))]
        (('act1', 'layer1', 'layer2', 'layer3', 'layer4'),
         [(1, 9216), (1, 9216), (1, 8192), (1, 9216), (1, 8192)])
    """

    def __init__(
        self,
        network: nn.Module,
        backbone: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        values: int = POOLED_VALUES,
        average: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers) if layers is not None else tuple(block_names(backbone))
        self.values = values
        self.average = average
        self._tapped = [find_layer(backbone, layer) for layer in self.layers]
        self._extra_tokens = int(getattr(backbone, "num_prefix_tokens", -1))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        """One ``(B, D_l)`` for each layer; ``shapes`` then has the maps' ``(C, H, W)``, and the side after pooling."""
        rows: list[Tensor] = []
        self.shapes = []
        outputs = layer_outputs(self.network, self._tapped, images)
        for name, layer, calls in zip(self.layers, self._tapped, outputs):
            out = calls[0] if calls else None
            maps = as_map(out, name, layer, self.network, extra_tokens=self._extra_tokens)
            if self.average:
                parts = average_pooled(maps, values=self.values)
            else:
                parts = F.adaptive_max_pool2d(maps, pooled_side(*maps.shape[1:], values=self.values))
            rows.append(parts.flatten(1))
            self.shapes.append((*maps.shape[1:], parts.shape[-1]))
        return rows


def as_map(out: Any, name: str, layer: nn.Module, network: nn.Module, *, extra_tokens: int = -1) -> Tensor:
    """A layer's output as a map ``(B, C, H, W)``; tokens of a vision transformer are laid out as the map that they are.

    Args:
        out: what the layer gave.
        name: of the layer, for the message.
        layer: the layer.
        network: what it is part of.
        extra_tokens: number of class and register tokens, which come first; -1 is what a square leaves over.

    Raises:
        UsageError: if it is no map.

    Example:
        >>> import torch
        >>> as_map(torch.zeros(2, 17, 5), "blocks.0", nn.Identity(), nn.Identity()).shape
        torch.Size([2, 5, 4, 4])
    """
    if isinstance(out, Tensor) and out.ndim == 3:
        tokens = out.shape[1]
        extra = extra_tokens if extra_tokens >= 0 else tokens - math.isqrt(tokens) ** 2
        side = math.isqrt(tokens - extra)
        if side * side == tokens - extra:
            return out[:, extra:].transpose(1, 2).reshape(len(out), -1, side, side)
    if isinstance(out, Tensor) and out.ndim == 4:
        return maps_of(out, name, layer, network)
    given = f"{tuple(out.shape)}" if isinstance(out, Tensor) else "nothing" if out is None else type(out).__name__
    raise UsageError(f'layer "{name}" gives {given}, and no map (B, C, H, W) or tokens of one: name other layers.')


def pooled_side(channels: int, height: int, width: int, *, values: int = POOLED_VALUES) -> int:
    """The side to which a map is pooled: ``channels * side ** 2`` is as near to ``values`` as it can be.

    A map that is smaller keeps its size (its shorter side).

    Example:
        >>> [pooled_side(channels, 99, 99) for channels in (64, 192, 384, 256, 2048)]
        [12, 7, 5, 6, 2]
    """
    most = min(height, width)
    return min(range(1, most + 1), key=lambda side: abs(channels * side**2 - values))


def average_pooled(maps: Tensor, *, values: int = POOLED_VALUES) -> Tensor:
    """Averages of the parts of maps: by VISSL's windows where these are known, else over a square of parts.

    Args:
        maps: ``(B, C, H, W)``.
        values: about how many numbers are kept of each.

    Returns:
        ``(B, C, S, S)``.

    Source: the official code of Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning,
    ICCV 2019, arXiv:1905.01235.

    Example:
        >>> import torch
        >>> [tuple(average_pooled(torch.zeros(1, c, s, s)).shape) for c, s in ((64, 112), (2048, 7), (512, 4))]
        [(1, 64, 12, 12), (1, 2048, 2, 2), (1, 512, 4, 4)]
    """
    kernel = kernel_of(tuple(maps.shape[1:]), values=values)
    if kernel is not None:
        return F.avg_pool2d(maps, *kernel)
    return F.adaptive_avg_pool2d(maps, pooled_side(*maps.shape[1:], values=values))


def kernel_of(shape: tuple[int, ...], *, values: int = POOLED_VALUES) -> tuple[int, int, int] | None:
    """Side, stride and padding of VISSL's window for maps of a shape ``(C, H, W)``; None where it has none.

    Example:
        >>> kernel_of((2048, 7, 7)), kernel_of((512, 7, 7)), kernel_of((2048, 7, 7), values=2048)
        ((6, 1, 0), None, None)
    """
    return _KERNELS.get(shape) if values == POOLED_VALUES else None


def fitting_groups(widths: Sequence[int], images: int, memory: float, *, size: int = 2) -> list[list[int]]:
    """Layers whose maps fit into memory together, one after the other.

    Args:
        widths: numbers of values that are kept of an image, one for each layer.
        images: how many there are.
        memory: GiB.
        size: bytes of a value.

    Example:
        >>> fitting_groups([9000, 9000, 9000], 50_000, memory=2.0)
        [[0, 1], [2]]
    """
    most = memory * 2**30 / (size * images)  # values per image
    groups: list[list[int]] = [[]]
    for layer, width in enumerate(widths):
        if groups[-1] and sum(widths[i] for i in groups[-1]) + width > most:
            groups.append([])
        groups[-1].append(layer)
    return groups
