"""CIE Lab of batches of images, and the 313 bins that its colors are sorted into."""

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["NUM_COLORS", "ab_bins", "annealed_mean", "lab_to_rgb", "nearest_bins", "rgb_to_lab", "soft_codes"]

# sRGB to XYZ, and the white point D65 of the 2 degree observer.
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)
_EPSILON, _KAPPA, _OFFSET = 0.008856, 7.787, 16 / 116

# The least and the greatest b of each a, all in steps of 10: the colors that sRGB has.
_GAMUT = {
    -90: (50, 90),
    -80: (20, 90),
    -70: (0, 90),
    -60: (-20, 90),
    -50: (-30, 100),
    -40: (-40, 100),
    -30: (-50, 100),
    -20: (-50, 100),
    -10: (-60, 100),
    0: (-70, 100),
    10: (-80, 90),
    20: (-80, 90),
    30: (-90, 90),
    40: (-100, 90),
    50: (-100, 80),
    60: (-110, 80),
    70: (-110, 80),
    80: (-110, 70),
    90: (-110, 70),
    100: (-90, 0),
}
NUM_COLORS = sum((high - low) // 10 + 1 for low, high in _GAMUT.values())
"""Bins of ab, `Q` = 313."""


def rgb_to_lab(images: Tensor) -> Tensor:
    """Lightness and two color axes of sRGB images, under daylight (D65).

    Args:
        images: ``(B, 3, ...)`` in [0, 1]; of half precision they are computed in float32.

    Returns:
        ``(B, 3, ...)``, L in 0 to 100, a and b within about 110 on either side of 0, which is gray.

    Example:
        >>> white = rgb_to_lab(torch.ones(1, 3, 1, 1)).flatten()
        >>> [round(value, 1) + 0.0 for value in white.tolist()]
        [100.0, 0.0, 0.0]
    """
    rgb = images.to(torch.promote_types(images.dtype, torch.float32))
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = (_root(_mixed(linear, row) / white) for row, white in zip(_XYZ, _WHITE))
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """The sRGB images of :func:`rgb_to_lab`; colors that sRGB lacks are cut off at 0 and 1.

    Args:
        lab: ``(B, 3, ...)``.

    Returns:
        ``(B, 3, ...)`` in [0, 1].

    Example:
        >>> images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
        >>> bool((lab_to_rgb(rgb_to_lab(images)) - images).abs().max() < 1e-5)
        True
    """
    lightness, a, b = lab.to(torch.promote_types(lab.dtype, torch.float32)).unbind(1)
    y = (lightness + 16) / 116
    roots = (y + a / 500, y, (y - b / 200).clamp(min=0))
    xyz = torch.stack([_power(root) * white for root, white in zip(roots, _WHITE)], 1)
    inverse: list[list[float]] = torch.tensor(_XYZ, dtype=torch.float64).inverse().tolist()
    linear = torch.stack([_mixed(xyz, row) for row in inverse], 1)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp(0, 1)


def _mixed(channels: Tensor, weights: "tuple[float, ...] | list[float]") -> Tensor:
    """A weighted sum of three channels; a matrix product would be one of half precision under autocast."""
    r, g, b = channels.unbind(1)
    return r * weights[0] + g * weights[1] + b * weights[2]


def _root(xyz: Tensor) -> Tensor:
    return torch.where(xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1 / 3), _KAPPA * xyz + _OFFSET)


def _power(root: Tensor) -> Tensor:
    return torch.where(root > 0.2068966, root**3, (root - _OFFSET) / _KAPPA)


@lru_cache(maxsize=16)
def ab_bins(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Centers ``(313, 2)`` of the bins: a grid of 10 units over the colors that sRGB has.

    Example:
        >>> ab_bins()[[0, -1]].tolist()
        [[-90.0, 50.0], [100.0, 0.0]]
    """
    centers = [(a, b) for a, (low, high) in _GAMUT.items() for b in range(low, high + 1, 10)]
    with torch.inference_mode(False):  # what is kept here may be used in training, too
        return torch.tensor(centers, dtype=dtype, device=device)


def soft_codes(ab: Tensor, *, neighbors: int = 5, sigma: float = 5.0, bins: Tensor | None = None) -> Tensor:
    """Colors as distributions over their nearest bins, with weights of ``exp(-d^2 / (2 sigma^2))``.

    Args:
        ab: ``(P, 2)``.
        neighbors: nearest bins with a share: 5 in the paper, 10 in the published code.
        sigma: in units of ab.
        bins: ``(Q, 2)``; None is :func:`ab_bins`.

    Returns:
        ``(P, Q)``; rows sum to 1.

    Example:
        >>> code = soft_codes(torch.tensor([[0.0, 0.0]]))
        >>> code.count_nonzero().item(), round(code.max().item(), 3), ab_bins()[code.argmax()].tolist()
        (5, 0.649, [0.0, 0.0])
    """
    squares = _squares(ab, bins)
    nearest = squares.topk(neighbors, dim=1, largest=False)  # (P, neighbors)
    shares = (-nearest.values / (2 * sigma**2)).softmax(1)
    return torch.zeros_like(squares).scatter_(1, nearest.indices, shares)


def nearest_bins(ab: Tensor, *, bins: Tensor | None = None) -> Tensor:
    """The nearest bin of colors ``(P, 2)``, ``(P,)``.

    Example:
        >>> ab_bins()[nearest_bins(torch.tensor([[14.0, -26.0]]))].tolist()
        [[10.0, -30.0]]
    """
    return _squares(ab, bins).argmin(1)


def _squares(ab: Tensor, bins: Tensor | None) -> Tensor:
    """Squared distances ``(P, Q)``."""
    bins = ab_bins(ab.device, ab.dtype) if bins is None else bins
    a, b = bins.t()
    squares: Tensor = (ab[:, :1] - a).square_().add_((ab[:, 1:] - b).square_())
    return squares


def annealed_mean(logits: Tensor, *, temperature: float = 0.3837, bins: Tensor | None = None) -> Tensor:
    """The expected color of sharpened predictions: between their mean (1) and the most probable bin (0).

    Args:
        logits: ``(P, Q)``.
        temperature: positive; the published network multiplies its logits by 2.606.
        bins: ``(Q, 2)``; None is :func:`ab_bins`.

    Returns:
        ab ``(P, 2)``.

    Example:
        >>> annealed_mean(torch.zeros(1, 2), bins=torch.tensor([[0.0, 10.0], [20.0, 10.0]])).tolist()
        [[10.0, 10.0]]
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    shares = (logits / temperature).softmax(1)
    bins = ab_bins(logits.device, logits.dtype) if bins is None else bins
    return torch.stack([(shares * axis).sum(1) for axis in bins.t()], 1)
