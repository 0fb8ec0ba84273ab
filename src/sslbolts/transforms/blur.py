"""Gaussian blur of a whole batch, every image with its own standard deviation."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["gaussian_blur", "gaussian_weights"]

# Up to this side two matrix products cost a CPU less than one pass over the image per tap.
_MATRIX_SIZE = 64


def gaussian_blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Separable Gaussian blur with reflected borders, equal to torchvision's ``gaussian_blur`` on float images.

    Args:
        images: ``(n, C, H, W)`` float.
        sigma: ``(n,)`` standard deviations, pixels.
        kernel: odd number of taps, at most twice the side.

    Returns:
        ``(n, C, H, W)``.
    """
    if images.device.type == "cpu" and max(images.shape[-2:]) > _MATRIX_SIZE:
        return _by_shifts(images, gaussian_weights(sigma, kernel))
    return _by_matrices(images, gaussian_weights(sigma, kernel))


def gaussian_weights(sigma: Tensor, kernel: int) -> Tensor:
    """The taps ``exp(-d^2 / 2 sigma^2)`` at whole distances d from the middle, divided by their sum.

    Args:
        sigma: ``(n,)``.

    Returns:
        ``(n, kernel)``.
    """
    distance = torch.arange(kernel, device=sigma.device, dtype=sigma.dtype) - kernel // 2
    # Below a millionth of a pixel all weight is in the middle, and so it is where float32 would round to 0.
    return torch.softmax(-0.5 * (distance / sigma[:, None].clamp(min=1e-6)) ** 2, 1)


def _by_matrices(images: Tensor, weights: Tensor) -> Tensor:
    """Blur as two products with band matrices, in whose first and last rows the reflected taps are added up."""
    n, channels, height, width = images.shape
    rows = _band_matrices(weights, height)
    columns = rows if width == height else _band_matrices(weights, width)
    pixels = images.transpose(1, 2).reshape(n, height, channels * width)
    pixels = torch.bmm(rows, pixels).view(n, height * channels, width)
    return torch.bmm(pixels, columns.mT).view(n, height, channels, width).transpose(1, 2)


def _band_matrices(weights: Tensor, size: int) -> Tensor:
    """``(n, kernel)`` taps to ``(n, size, size)`` matrices that blur a row of ``size`` pixels."""
    n, kernel = weights.shape
    places = _band_places(size, kernel, weights.device)
    flat = torch.zeros(n, size * size, device=weights.device)
    # One call per tap: within one tap no place comes twice, so the sums have one order on every device.
    for tap, place in zip(weights.unbind(1), places, strict=True):
        flat.index_add_(1, place, tap[:, None].expand(n, size))
    return flat.view(n, size, size)


@lru_cache(maxsize=64)
def _band_places(size: int, kernel: int, device: torch.device) -> Tensor:
    """``(kernel, size)``: where each tap of each output pixel lies in a flat ``(size, size)`` matrix."""
    out = torch.arange(size)
    source = (out + torch.arange(kernel)[:, None] - kernel // 2).abs()
    source = torch.where(source > size - 1, 2 * (size - 1) - source, source)
    return (out * size + source).to(device)


def _by_shifts(images: Tensor, weights: Tensor) -> Tensor:
    """Blur as a sum of shifted images, one image at a time, which then stays in the cache."""
    radius = weights.shape[1] // 2
    height, width = images.shape[-2:]
    out = torch.empty_like(images)
    for image, taps, target in zip(images, weights[:, radius:].tolist(), out, strict=True):
        # Taps below a thousandth of a level change nothing.
        reach = max(distance for distance, tap in enumerate(taps) if tap > 4e-6)
        padded = F.pad(image[None], (reach, reach, reach, reach), mode="reflect")[0]
        rows = padded[:, reach : reach + height] * taps[0]
        for distance in range(1, reach + 1):
            rows.add_(padded[:, reach - distance : reach - distance + height], alpha=taps[distance])
            rows.add_(padded[:, reach + distance : reach + distance + height], alpha=taps[distance])
        torch.mul(rows[..., reach : reach + width], taps[0], out=target)
        for distance in range(1, reach + 1):
            target.add_(rows[..., reach - distance : reach - distance + width], alpha=taps[distance])
            target.add_(rows[..., reach + distance : reach + distance + width], alpha=taps[distance])
    return out
