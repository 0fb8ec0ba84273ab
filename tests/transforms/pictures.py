"""Test images with edges, gradients, flat and saturated areas: what resizing and color operations can get wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pictures(n: int, channels: int = 3, height: int = 32, width: int = 32, *, seed: int = 0) -> Tensor:
    """``(n, channels, height, width)`` uint8: smooth shapes and noise, clipped, with a gray and a flat patch."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, max(2, height // 8), max(2, width // 8), generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic")
    noisy = 1.4 * smooth - 0.2 + 0.05 * torch.randn(n, channels, height, width, generator=generator)
    noisy[..., : height // 4, : width // 4] = noisy[:, :1, : height // 4, : width // 4]
    noisy[..., -height // 4 :, -width // 4 :] = torch.rand(n, channels, 1, 1, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8)
