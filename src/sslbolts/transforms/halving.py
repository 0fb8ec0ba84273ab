"""Images of half the size, each made by a filter of its own."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["FILTERS", "halved"]


def _area(x: Tensor) -> Tensor:
    return (x.abs() <= 0.5).to(x.dtype)


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _bicubic(x: Tensor, a: float = -0.5) -> Tensor:
    x = x.abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)


_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "area": _area,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}
FILTERS = tuple(_KERNELS)
"""Names of the filters: the mean of 2 x 2 pixels, and the bilinear, bicubic and Lanczos filters of PIL, antialiased."""


def halved(images: Tensor, filters: Tensor) -> Tensor:
    """Images of half the height and width, as PIL's resize makes them of floating-point pixels.

    Args:
        images: ``(B, C, H, W)``, `H` and `W` even.
        filters: ``(B,)``, for each image the number of its filter in :data:`FILTERS`.

    Returns:
        ``(B, C, H / 2, W / 2)``.

    Example:
        >>> halved(torch.arange(16.0).view(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))
        tensor([[[[ 2.5000,  4.5000],
                  [10.5000, 12.5000]]]])
    """
    rows, columns = (
        _matrices(length, images.dtype, images.device).index_select(0, filters)[:, None] for length in images.shape[2:]
    )
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.mT  # (B, 1, H / 2, H) (B, C, H, W) (B, 1, W, W / 2)


@lru_cache(maxsize=16)
def _matrices(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """For each filter the matrix ``(length / 2, length)`` from pixels of a line to those of the halved one."""
    centers = 2 * torch.arange(length // 2, dtype=torch.float64) + 1
    distances = (torch.arange(length, dtype=torch.float64) + 0.5 - centers[:, None]) / 2
    weights = torch.stack([kernel(distances) for kernel in _KERNELS.values()])
    return (weights / weights.sum(2, keepdim=True)).to(device, dtype)
