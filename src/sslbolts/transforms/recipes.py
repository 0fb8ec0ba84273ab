"""Descriptions of a method's views, as plain data that YAML can hold."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Generator, Tensor

from sslbolts.checks import fraction
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["INTERPOLATIONS", "Evaluation", "MultiCrop", "MultiView", "TransformsView", "View"]

INTERPOLATIONS = ("bilinear", "bicubic")

_MOST = 1e6  # below this, no strength or width overflows float32 on its way to a pixel


@dataclass(frozen=True)
class View:
    """Recipe of one view of an image: resized crop, flip, color jitter, grayscale, blur, solarize, in this order.

    With ``color_first`` jitter and grayscale come before the crop, which then is cut out of changed colors. Turns
    (vertical flip, quarters, rotation) follow the flip; noise, a function of your own, normalization and erasing come
    last.

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
        vertical_flip: probability of the vertical flip.
        quarter_turns: probability of a turn by 90, 180 or 270 degrees, each a third of it: with 0.75 all four
            directions are alike.
        rotation: every view is turned by an angle from -rotation to rotation, degrees, at most 180 (bilinear; the
            corners are black).
        noise_p: probability of Gaussian noise in every pixel and channel, clamped to what an image can hold.
        noise_sigma: least and greatest standard deviation of the noise, in parts of the range from black to white.
        erase_p: probability that a rectangle is erased: it is 0 in what the network gets, the mean of normalized
            images.
        erase_scale: least and greatest part of the view's area that the rectangle covers.
        erase_ratio: least and greatest height / width of the rectangle.
        custom: function of your own, of ``(images, generator)``: float32 ``(B, C, size, size)`` in [0, 1], on the
            device where views are finished, and the generator from which all that is random should come; it gives
            images of the same shape. Its results need not lie in [0, 1].

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
    vertical_flip: float = 0.0
    quarter_turns: float = 0.0
    rotation: float = 0.0
    noise_p: float = 0.0
    noise_sigma: tuple[float, float] = (0.01, 0.1)
    erase_p: float = 0.0
    erase_scale: tuple[float, float] = (0.02, 0.33)
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    custom: Callable[[Tensor, Generator], Tensor] | None = None

    @property
    def extras(self) -> bool:
        """True if the view is turned, or gets noise or a hole."""
        return any((self.vertical_flip, self.quarter_turns, self.rotation, self.noise_p, self.erase_p))

    @property
    def kernel(self) -> int:
        """Taps of the blur, ``blur_kernel`` or a tenth of the size, odd and at least 3."""
        return self.blur_kernel if self.blur_kernel is not None else max(3, self.size // 10 // 2 * 2 + 1)

    def __post_init__(self) -> None:
        self._check_extras()
        _at_least_one("size", self.size)
        for name, count in (("scale", 2), ("ratio", 2), ("blur_sigma", 2), ("jitter", 4)):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), count))
        for name in ("flip", "jitter_p", "grayscale_p", "blur_p", "solarize_p"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)!r} is no probability: give a number from 0 to 1.")
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
        odd = isinstance(self.kernel, int) and self.kernel > 0 and self.kernel % 2
        if not odd or (self.blur_p > 0 and self.kernel // 2 >= self.size):
            raise UsageError(
                f"blur_kernel={self.blur_kernel} must be odd and less than twice size={self.size}; "
                "None takes a tenth of the size."
            )
        if not _is_number(self.padding) or not 0 <= self.padding <= 1 or (self.padding and self.color_first):
            raise UsageError(
                f"padding={self.padding!r} must be from 0 to 1 of the image's shorter side, and 0 with "
                "color_first=True."
            )
        if not _is_number(self.solarize_threshold) or not 0 <= self.solarize_threshold <= 255:
            raise UsageError(f"solarize_threshold={self.solarize_threshold!r} must be from 0 to 255 levels.")

    def _check_extras(self) -> None:
        for name in ("vertical_flip", "quarter_turns", "noise_p", "erase_p"):
            fraction(**{name: getattr(self, name)})
        if not isinstance(self.rotation, int | float) or not 0 <= self.rotation <= 180:
            raise UsageError(f"rotation={self.rotation!r} must be from 0 to 180 degrees.")
        for name, highest in (("noise_sigma", 1.0), ("erase_scale", 1.0), ("erase_ratio", 1000.0)):
            low, high = _numbers(name, getattr(self, name), 2)
            object.__setattr__(self, name, (low, high))
            if not 0 < low <= high <= highest:
                raise UsageError(
                    f"{name}={(low, high)} must be (least, greatest) with 0 < least <= greatest <= {highest:g}."
                )
        if self.custom is not None and not callable(self.custom):
            raise UsageError(f"custom={self.custom!r} must be a function of (images, generator).")


@dataclass(frozen=True)
class TransformsView(View):
    """A view that is made image by image by transforms of torchvision (v2), in the worker processes.

    The transforms get an image ``(C, H, W)`` as it is stored (uint8 or uint16) and must make ``(C, size, size)`` of it,
    of the same type or float in [0, 1], which is rounded to levels. They draw from torch's generator, which is seeded
    for each image. The DataModule normalizes; its ``augment_on``, ``color`` and ``color_channels`` do not reach them.

    Args:
        size: side of the square view, pixels.
        transforms: called one after another.

    Raises:
        UsageError: for no transforms, or another argument of :class:`View`.

    Example:
        >>> from torchvision.transforms import v2
        >>> view = TransformsView(32, transforms=[v2.RandomCrop(32), v2.RandomPosterize(4)])
        >>> view.size, len(view.transforms)
        (32, 2)
    """

    flip: float = 0.0
    transforms: Sequence[Callable[[Any], Any]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        listed = isinstance(self.transforms, Sequence) and all(callable(step) for step in self.transforms)
        if not listed or not self.transforms:
            raise UsageError(f"transforms={self.transforms!r} must be one or more transforms, in a list.")
        object.__setattr__(self, "transforms", tuple(self.transforms))
        plain = View(self.size, flip=0.0)
        for field in fields(View):
            if getattr(self, field.name) != getattr(plain, field.name):
                raise UsageError(f"{field.name}= has no effect beside transforms=, which make the whole view.")

    @classmethod
    def of(cls, transforms: Sequence[Callable[[Any], Any]]) -> "TransformsView":
        """The view of a list of transforms, as large as the last of them says that has a ``size``.

        Raises:
            UsageError: if none has.

        Example:
            >>> from torchvision.transforms import v2
            >>> TransformsView.of([v2.RandomResizedCrop(24), v2.RandomPosterize(4)]).size
            24
        """
        for step in reversed(transforms):
            size = getattr(step, "size", None)
            sides = {size} if isinstance(size, int) else set(size) if isinstance(size, list | tuple) else set()
            if len(sides) == 1:
                return cls(sides.pop(), transforms=transforms)
        raise UsageError(
            f"{list(transforms)!r} do not say how large a view is: end with a crop, or give "
            "TransformsView(size, transforms=[...])."
        )


@dataclass(frozen=True)
class MultiView:
    """One view of every image per entry, each made by its own :class:`View`.

    Args:
        views: the views in the order in which the method gets them; a list of torchvision's transforms (v2) stands for
            the :class:`TransformsView` of it, which is slower.
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
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name}={value!r} must be a whole number of pixels, 1 or more.")


def _numbers(name: str, values: Any, count: int) -> tuple[float, ...]:
    given = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if len(given) != count or not all(map(_is_number, given)):
        raise UsageError(f"{name}={values!r} must be {count} numbers, none of {_MOST:,.0f} or more.")
    return given


def _is_number(value: Any) -> bool:
    """True for a number, neither infinite nor one that overflows float32 on the way to a pixel."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _known_interpolation(name: str) -> None:
    if name not in INTERPOLATIONS:
        raise UsageError(
            f'interpolation="{name}" is unknown: use "bilinear" or "bicubic".{did_you_mean(str(name), INTERPOLATIONS)}'
        )


def _views(name: str, values: Sequence[View]) -> tuple[View, ...]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        listed = [value for value in values if isinstance(value, list | tuple) and all(map(callable, value))]
        values = [TransformsView.of(value) if value and value in listed else value for value in values]
    if not isinstance(values, Sequence) or not values or not all(isinstance(value, View) for value in values):
        raise UsageError(f"{name}={values!r} must be made of one or more View(...).")
    return tuple(values)
