"""Images themselves as features: the baseline of whatever a network has learned."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["raw_pixels"]


def raw_pixels(images: Tensor, *, side: int = 32) -> Tensor:
    """Images as vectors, averaged down to at most ``side`` pixels in height and width.

    Args:
        images: ``(B, C, H, W)`` of any type of number; rows of another form are flattened as they are.
        side: the most pixels.

    Returns:
        ``(B, C * h * w)`` float32.

    Example:
        >>> import torch
        >>> raw_pixels(torch.zeros(2, 3, 96, 24, dtype=torch.uint8)).shape
        torch.Size([2, 2304])
    """
    x = images.float()
    if x.ndim == 4 and max(x.shape[2:]) > side:
        x = F.adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3])))
    return x.flatten(1)
