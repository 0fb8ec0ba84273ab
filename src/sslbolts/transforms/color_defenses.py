"""Defenses against shortcuts that lie in the colors of tiles, and in how sharp they are; batched, on any device.

A lens bends red, green and blue differently, so that the colors of a tile tell where in the image it was; brightness
and contrast of a tile tell what others it belongs to. All functions take tiles ``(..., C, h, w)``.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "drop_colors",
    "lower_resolution",
    "lower_sides",
    "mean_gray",
    "mean_variance_50",
    "normalize_channels",
    "remove_green_magenta",
    "standardize",
]

_LEVEL = 1 / 255  # a contrast below one level of an image in [0, 1] is no contrast


def mean_gray(images: Tensor) -> Tensor:
    """The mean of the channels, in each of them.

    Example:
        >>> mean_gray(torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)).flatten().tolist()
        [3.0, 3.0, 3.0]
    """
    return images.mean(-3, keepdim=True).expand_as(images)


def remove_green_magenta(images: Tensor) -> Tensor:
    """Colors less their part along a = (-1, 2, -1): ``x - a (a . x) / 6``. Others than three channels stay as they are.

    Source: Noroozi and Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016,
    arXiv:1603.09246, their code.

    Example:
        >>> remove_green_magenta(torch.tensor([0.0, 6.0, 0.0]).view(3, 1, 1)).flatten().tolist()
        [2.0, 2.0, 2.0]
    """
    if images.shape[-3] != 3:
        return images
    red, green, blue = images.unbind(-3)
    part = (2 * green - red - blue) / 6
    return torch.stack([red + part, green - 2 * part, blue + part], -3)


def normalize_channels(tiles: Tensor) -> Tensor:
    """Every channel of every tile less its mean, by its (unbiased) standard deviation.

    Source: the implementation of Jigsaw in PyTorch by Brattoli.

    Example:
        >>> normalize_channels(torch.tensor([0.0, 2.0, 4.0]).view(1, 1, 3)).flatten().tolist()
        [-1.0, 0.0, 1.0]
    """
    std, mean = torch.std_mean(tiles, (-2, -1), keepdim=True)
    return (tiles - mean) / std.clamp_min(_LEVEL)


def standardize(tiles: Tensor) -> Tensor:
    """Every tile less the mean of its `N` values, by their standard deviation or, if that is larger, by `N` to -1/2.

    Source: Kolesnikov et al., Revisiting Self-Supervised Visual Representation Learning, CVPR 2019, arXiv:1901.09005,
    their code.

    Example:
        >>> standardize(torch.tensor([0.0, 4.0]).view(1, 1, 2)).flatten().tolist()
        [-1.0, 1.0]
    """
    std, mean = torch.std_mean(tiles, (-3, -2, -1), keepdim=True, correction=0)
    return (tiles - mean) / std.clamp_min(tiles.shape[-3:].numel() ** -0.5)


def mean_variance_50(tiles: Tensor) -> Tensor:
    """Every tile less the mean of its values, scaled to a standard deviation of 50 ("MVN across channels").

    Source: Noroozi and Favaro, ECCV 2016, arXiv:1603.09246, their code of the second version.
    """
    std, mean = torch.std_mean(tiles, (-3, -2, -1), keepdim=True, correction=0)
    return (tiles - mean) / (std + 1e-9) * 50


def drop_colors(tiles: Tensor, keep: Tensor, noise: Tensor) -> Tensor:
    """One channel less its mean, noise in the others, and all of it scaled to a root mean square of 50.

    Args:
        tiles: ``(..., C, h, w)``.
        keep: ``(...)`` whole numbers, the channel of each tile that is kept.
        noise: ``(..., C, h, w)``; in the paper uniform from -0.5 to 0.5 on a scale of 0 to 255.

    Source: Doersch et al., Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015,
    arXiv:1505.05192, their code.

    Example:
        >>> tile = torch.tensor([[1.0, 3.0], [5.0, 9.0]]).view(2, 1, 2)
        >>> drop_colors(tile, torch.tensor(1), torch.zeros(2, 1, 2)).flatten().round().tolist()
        [0.0, 0.0, -71.0, 71.0]
    """
    kept = torch.arange(tiles.shape[-3], device=tiles.device) == keep[..., None]  # (..., C)
    out = torch.where(kept[..., None, None], tiles - tiles.mean((-2, -1), keepdim=True), noise)
    square = out.square().mean((-3, -2, -1), keepdim=True)
    return out / square.clamp_min(1e-12).sqrt() * 50


def lower_resolution(tiles: Tensor, sides: Tensor) -> Tensor:
    """Tiles, each resized (bilinear, not antialiased) to a side of its own and back.

    Resizing is a linear map of the rows and then of the columns, so that all sides take the same two products.

    Args:
        tiles: ``(..., C, s, s)``.
        sides: ``(...)`` whole numbers from 1 to `s`; `s` leaves a tile as it is.

    Source: Doersch et al., ICCV 2015, arXiv:1505.05192: a network must not see which patches are sharp.

    Example:
        >>> tile = torch.tensor([[0.0, 4.0], [4.0, 8.0]]).view(1, 2, 2)
        >>> lower_resolution(tile, torch.tensor(1)).flatten().tolist()
        [4.0, 4.0, 4.0, 4.0]
    """
    maps = _there_and_back(tiles.shape[-1], tiles.device, tiles.dtype)[sides - 1].unsqueeze(-3)  # (..., 1, s, s)
    return maps @ tiles @ maps.mT


def lower_sides(numbers: Tensor, size: int) -> Tensor:
    """Sides for :func:`lower_resolution` of which the number of pixels is uniform, 10 to 94 of 96 as published.

    Args:
        numbers: uniform in [0, 1).
        size: side of a tile.

    Example:
        >>> lower_sides(torch.tensor([0.0, 0.5, 0.9999]), 96).tolist()
        [10, 67, 94]
    """
    least, most = max(1, round(size * 10 / 96)), max(1, size - 1)
    return (numbers * (most**2 - least**2) + least**2).sqrt().long()


@lru_cache(maxsize=16)
def _there_and_back(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(size, size, size)``: the matrices that resize ``size`` pixels to 1, 2, ... and back."""
    columns = torch.eye(size, dtype=torch.float64)[None]  # the image of each is a column of the matrix
    back = [
        F.interpolate(F.interpolate(columns, side, mode="linear"), size, mode="linear")[0].mT
        for side in range(1, size + 1)
    ]
    return torch.stack(back).to(device, dtype)
