"""Descriptions of a method's views, as plain data that YAML can hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["INTERPOLATIONS", "Evaluation", "MultiCrop", "MultiView", "View"]

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class View:
    """Recipe of one view of an image: resized crop, flip, color jitter, grayscale, blur, solarize, in this order.

    With ``color_first`` jitter and grayscale come before the crop, which then is cut out of changed colors.

    Args:
        size: side of the square view, pixels.
        scale: least and greatest part of the image's area that the crop covers, 0 < least <= greatest <= 1.
        ratio: least and greatest width / height of the crop before it is resized.
        interpolation: "bilinear" or "bicubic", both antialiased.
        flip: probability of the horizontal flip.
        jitter: strengths (brightness, contrast, saturation, hue). The first three factors are drawn from
            [max(0, 1 - strength), 1 + strength], the hue shift from [-strength, strength] turns (at most 0.5);
            the four operations come in random order.
        jitter_p: probability that an image is jittered at all.
        grayscale_p: probability that a view loses its color.
        blur_p: probability of the Gaussian blur.
        blur_sigma: least and greatest standard deviation of the blur, pixels.
        blur_kernel: odd number of taps of the blur; None is a tenth of ``size``, at least 3.
        solarize_p: probability that values of at least ``solarize_threshold`` are inverted.
        solarize_threshold: levels of 255.
        color_first: jitter and grayscale see the whole image (W-MSE); otherwise the crop. Contrast is changed about
            the mean of what is seen.
        padding: width of a black border that the image gets on all sides before it is cropped, in parts of its shorter
            side: with 1/8, a crop of the area 0.64 and the ratio 1 is as large as a square image was, and moved by up
            to 1/8 of it each way. Areas are parts of the image with its border.

    Raises:
        UsageError: for a value outside its range.

    Example:
        >>> View(32, jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2).kernel
        3
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.8
    grayscale_p: float = 0.0
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int | None = None
    solarize_p: float = 0.0
    solarize_threshold: float = 128.0
    color_first: bool = False
    padding: float = 0.0

    @property
    def kernel(self) -> int:
        """Taps of the blur, ``blur_kernel`` or a tenth of the size, odd and at least 3."""
        return self.blur_kernel if self.blur_kernel is not None else max(3, self.size // 10 // 2 * 2 + 1)

    def __post_init__(self) -> None:
        _at_least_one("size", self.size)
        for name, count in (("scale", 2), ("ratio", 2), ("blur_sigma", 2), ("jitter", 4)):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), count))
        for name in ("flip", "jitter_p", "grayscale_p", "blur_p", "solarize_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)} is no probability: give a number from 0 to 1.")
        for name, highest in (("scale", 1.0), ("ratio", math.inf), ("blur_sigma", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest:
                limit = f" <= {highest:g}" if highest < math.inf else ""
                raise UsageError(f"{name}={(low, high)} must be (least, greatest) with 0 < least <= greatest{limit}.")
        _known_interpolation(self.interpolation)
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise UsageError(
                f"jitter={self.jitter} must be (brightness, contrast, saturation, hue), "
                "none negative and hue at most 0.5 turns."
            )
        if self.kernel < 1 or self.kernel % 2 == 0 or (self.blur_p > 0 and self.kernel // 2 >= self.size):
            raise UsageError(
                f"blur_kernel={self.blur_kernel} must be odd and less than twice size={self.size}; "
                "None takes a tenth of the size."
            )
        if not 0 <= self.padding <= 1 or (self.padding and self.color_first):
            raise UsageError(
                f"padding={self.padding} must be from 0 to 1 of the image's shorter side, and 0 with color_first=True."
            )
        if not 0 <= self.solarize_threshold <= 255:
            raise UsageError(f"solarize_threshold={self.solarize_threshold} must be from 0 to 255 levels.")


@dataclass(frozen=True)
class MultiView:
    """One view of every image per entry, each made by its own :class:`View`.

    Args:
        views: the views in the order in which the method gets them.
        normalize: subtract the data set's mean and divide by its standard deviation at the end.
        shared_flip: flip all views of an image, or none (AMDIM); otherwise each is flipped on its own.

    Raises:
        UsageError: with ``shared_flip``, if the views differ in their probability of a flip.

    Example:
        >>> [view.size for view in MultiView((View(32), View(32))).views]
        [32, 32]
    """

    views: tuple[View, ...]
    normalize: bool = True
    shared_flip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", _views("views", self.views))
        probabilities = {view.flip for view in self.views}
        if self.shared_flip and len(probabilities) > 1:
            raise UsageError(
                f"shared_flip=True flips all views of an image or none, but their flip is {sorted(probabilities)}: "
                "give all views the same."
            )


@dataclass(frozen=True)
class MultiCrop:
    """Large global views and many small local ones (SwAV, DINO).

    Args:
        global_views: the large views, each made by its own :class:`View`.
        local_view: how every small view is made.
        num_local: how many small views there are, 0 or more.
        normalize: subtract the data set's mean and divide by its standard deviation at the end.

    Example:
        >>> [view.size for view in MultiCrop((View(224), View(224)), View(96), num_local=3).views]
        [224, 224, 96, 96, 96]
    """

    global_views: tuple[View, ...]
    local_view: View
    num_local: int
    normalize: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "global_views", _views("global_views", self.global_views))
        _views("local_view", [self.local_view])
        if not isinstance(self.num_local, int) or self.num_local < 0:
            raise UsageError(f"num_local={self.num_local} must be a whole number, 0 or more.")

    @property
    def views(self) -> tuple[View, ...]:
        """All views in the order in which the method gets them, global first."""
        return self.global_views + (self.local_view,) * self.num_local


@dataclass(frozen=True)
class Evaluation:
    """The one view of evaluation: the shorter side resized, the center cut out; nothing is random.

    Args:
        resize: length of the shorter side after resizing, pixels.
        size: side of the square that is cut out of the center, pixels, at most ``resize``.
        interpolation: "bilinear" or "bicubic", both antialiased.

    Example:
        >>> Evaluation(resize=256, size=224)
        Evaluation(resize=256, size=224, interpolation='bilinear')
    """

    resize: int
    size: int
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        _at_least_one("resize", self.resize)
        _at_least_one("size", self.size)
        if self.size > self.resize:
            raise UsageError(f"size={self.size} cannot be cut out of resize={self.resize}: make resize at least size.")
        _known_interpolation(self.interpolation)


def _at_least_one(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{name}={value!r} must be a whole number of pixels, 1 or more.")


def _numbers(name: str, values: Any, count: int) -> tuple[float, ...]:
    given = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if len(given) != count or not all(isinstance(value, int | float) for value in given):
        raise UsageError(f"{name}={values!r} must be {count} numbers.")
    return given


def _known_interpolation(name: str) -> None:
    if name not in INTERPOLATIONS:
        raise UsageError(
            f'interpolation="{name}" is unknown: use "bilinear" or "bicubic".{did_you_mean(name, INTERPOLATIONS)}'
        )


def _views(name: str, values: Sequence[View]) -> tuple[View, ...]:
    if not isinstance(values, Sequence) or not values or not all(isinstance(value, View) for value in values):
        raise UsageError(f"{name}={values!r} must be made of one or more View(...).")
    return tuple(values)
