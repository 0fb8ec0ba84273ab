"""Images themselves as features: the baseline of whatever a network has learned."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

__all__ = ["raw_pixels"]

_AVERAGES: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def raw_pixels(images: Tensor, *, side: int = 32) -> Tensor:
    """Images as vectors, averaged down to at most ``side`` pixels in height and width.

    Of volumes, signals and images of many channels, so that there are at most ``4 * side ** 2`` values.

    Args:
        images: ``(B, C, H, W)`` of any type of number; or ``(B, C, D, H, W)``, ``(B, C, L)``, ``(B, L)``.
        side: the most pixels.

    Returns:
        ``(B, C * h * w)`` float32.

    Example:
        >>> import torch
        >>> raw_pixels(torch.zeros(2, 3, 96, 24, dtype=torch.uint8)).shape
        torch.Size([2, 2304])
        >>> raw_pixels(torch.zeros(2, 1, 64, 64, 64)).shape
        torch.Size([2, 4096])
    """
    x, most = images.float(), 4 * side**2
    if x.ndim < 3 or x.ndim > 5 or x.shape[1] > most:
        x = x.flatten(1)[:, None]
    dimensions = x.ndim - 2
    longest = 1
    while x.shape[1] * (longest + 1) ** dimensions <= most:
        longest += 1
    size = [min(length, longest, side if dimensions == 2 else length) for length in x.shape[2:]]
    if size != list(x.shape[2:]):
        x = _AVERAGES[dimensions](x, size)
    return x.flatten(1)
