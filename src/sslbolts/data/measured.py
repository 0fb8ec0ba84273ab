"""Mean and standard deviation of pixels, measured on some of the training images."""

from typing import Any, NamedTuple

import numpy as np
import torch

from sslbolts.data.apart import Apart
from sslbolts.data.images import Images, UnreadableImage
from sslbolts.errors import UsageError
from sslbolts.transforms.levels import greatest_level, pixels_of

__all__ = ["Statistics", "measured"]

_SAMPLE = 512  # images


class Statistics(NamedTuple):
    """What was measured.

    Attributes:
        mean: per channel, in [0, 1].
        std: per channel, in [0, 1]; 1 of a channel that is the same everywhere.
        images: that were looked at.
        at_the_ends: part of the values that are the lowest or the highest that an image holds.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int
    at_the_ends: float

    def sentence(self, total: int, *, ends: bool) -> str:
        """What was measured, and how to leave that out.

        Args:
            total: training images.
            ends: say how many values lie at the ends of the range.
        """
        clamped = f" {100 * self.at_the_ends:.2g} % of the values are at the ends of value_range or beyond."
        return (
            f"mean={list(self.mean)}, std={list(self.std)}: measured on {self.images:,} of {total:,} training images; "
            f"given as mean= and std=, they are not measured again.{clamped if ends else ''}"
        )


def measured(images: Images, *, most: int = _SAMPLE) -> Statistics:
    """Mean and deviation over all pixels of a sample, which is the same in every run.

    Args:
        images: the training images.
        most: images of the sample.

    Raises:
        UsageError: if none of them can be read.

    Example:
        >>> from sslbolts.data import TensorImages
        >>> pixels = torch.tensor([0, 255, 51, 51], dtype=torch.uint8).view(1, 2, 1, 2)
        >>> found = measured(TensorImages(pixels))
        >>> [round(value, 3) for value in (*found.mean, *found.std)]
        [0.5, 0.2, 0.5, 1.0]
    """
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:most].tolist()
    found = [sums for sums in Apart(_sums, images, rows, at_a_time=8) if sums is not None]
    if not found:
        raise UsageError("no image could be read to measure mean and standard deviation: give mean= and std=.")
    total, squares, ends = (np.sum([sums[place] for sums in found], 0) for place in range(3))
    pixels = sum(sums[3] for sums in found)
    mean = total / pixels
    variance = np.maximum(squares / pixels - mean**2, 0)
    std = np.where(variance > 1e-10, np.sqrt(variance), 1.0)
    share = float(ends) / (pixels * len(mean))
    return Statistics(_plain(mean), _plain(std), len(found), share)


def _sums(images: Images, row: int) -> tuple[Any, Any, int, int] | None:
    """Sums over the pixels of each channel, of them and their squares; values at the ends; and the number of pixels."""
    try:
        image, _ = images.read(row)
    except UnreadableImage:
        return None
    levels = image.to(torch.int32)
    ends = int(((levels == 0) | (levels == greatest_level(image))).sum())
    pixels = pixels_of(image).double().flatten(1)
    return pixels.sum(1).numpy(), pixels.square().sum(1).numpy(), ends, pixels.shape[1]


def _plain(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
