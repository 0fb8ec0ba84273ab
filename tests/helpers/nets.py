"""Networks small enough that a test of them takes milliseconds."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar
from unittest.mock import patch

import timm
import torch
from torch import Tensor, nn

from sslbolts.networks.vit import sin_cos_positions

Network = TypeVar("Network", bound=nn.Module)


class TinyBackbone(nn.Module):
    """Two strided convolutions and a global mean: ``(B, C, H, W) -> (B, 16)``. No batch norm."""

    num_features = 16
    feature_info = ({"module": "layers.1"}, {"module": "layers.3"})  # its stages, as timm says it

    def __init__(self, in_chans: int = 3, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.layers(x).mean((2, 3)))


class WithBatchNorm(nn.Module):
    """A convolution, a batch norm and a global mean: ``(B, 3, H, W) -> (B, 8)``."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


class SmallConvNet(nn.Module):
    """Convolutions of stride 2 with batch norm: ``(B, 3, 32, 32) -> (B, 128)``, a million products per image."""

    def __init__(self, *widths: int, in_chans: int = 3) -> None:
        super().__init__()
        widths = widths or (16, 32, 64, 128)
        self.num_features = widths[-1]
        layers: list[nn.Module] = []
        for width, out in pairwise((in_chans, *widths)):
            layers += [nn.Conv2d(width, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def vit_with_fixed_positions() -> nn.Module:
    """A vision transformer on 16 patches of 4 pixels: ``(B, 3, 16, 16) -> (B, 64)``, without a norm at its end.

    Its positions are sines and cosines, since a short run learns none.
    """
    shape = {"img_size": 16, "patch_size": 4, "embed_dim": 64, "depth": 3, "num_heads": 4}
    ends = {"num_classes": 0, "global_pool": "avg", "final_norm": False}
    network = timm.create_model("vit_tiny_patch16_224", **shape, **ends)
    patches = sin_cos_positions(4, 4, 64)
    with torch.no_grad():
        network.pos_embed.zero_()[0, -len(patches) :] = patches
    network.pos_embed.requires_grad_(False)
    return network


def without_batch_norm(network: Network) -> Network:
    """The network with a norm over each sample's own channels where it had batch norms, which tie a batch together."""
    for name, child in network.named_children():
        norm: nn.Module
        if isinstance(child, nn.BatchNorm1d):
            norm = nn.LayerNorm(child.num_features, elementwise_affine=child.affine)
        elif isinstance(child, nn.BatchNorm2d):
            norm = nn.GroupNorm(1, child.num_features, affine=child.affine)
        else:
            without_batch_norm(child)
            continue
        for ours, theirs in zip(norm.parameters(), child.parameters(), strict=True):
            ours.requires_grad_(theirs.requires_grad)  # a teacher's are frozen
        setattr(network, name, norm)
    return network


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks that are built in it have shapes but no values.

    Older versions of timm read the rates of stochastic depth out of a tensor, which therefore stays on the CPU.
    """
    with patch.object(torch, "linspace", functools.partial(torch.linspace, device="cpu")), torch.device("meta"):
        yield
