"""The form in which pixels are held, and the way there from numbers of any type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbolts.checks import whole
from sslbolts.errors import UsageError
from sslbolts.transforms.levels import LEVELS

__all__ = ["UNIT", "PixelForm", "ValueRange"]

ValueRange = Sequence[float] | Sequence[Sequence[float]]
"""``(low, high)`` of all channels, or one such pair per channel."""
UNIT = (0.0, 1.0)
_EIGHT_BITS = (0.0, 255.0)
_CONVERTIBLE = (1, 3, 4)  # channels into which files of other channels may be converted


class PixelForm:
    """Channels of a DataModule's images, and the range of values that black and white stand for.

    Without ``value_range`` images are uint8, and what is stored otherwise is refused: of uint8 alone the type says the
    range. With it they are uint16, 65,536 levels from low to high; values beyond are clamped.

    Args:
        in_chans: channels of every image.
        value_range: lowest and highest value, in the numbers of the files; or a pair per channel.

    Raises:
        UsageError: for a range that is none, or another number of pairs than channels.

    Example:
        >>> form = PixelForm(1, (0, 4095))
        >>> form.levels(np.array([[[0, 4095]]], np.uint16)).tolist()
        [[[0, 65535]]]
    """

    def __init__(self, in_chans: int = 3, value_range: ValueRange | None = None) -> None:
        whole(in_chans=in_chans)
        self.in_chans = in_chans
        self.pairs = None if value_range is None else _pairs(value_range, in_chans)

    @property
    def dtype(self) -> torch.dtype:
        """Of the images that are held."""
        return torch.uint8 if self.pairs is None else torch.uint16

    @property
    def converts(self) -> bool:
        """True if gray images may become RGB ones, and the like."""
        return self.in_chans in _CONVERTIBLE

    @property
    def plain(self) -> bool:
        """True for the pixels of common image files, which have 8 bits, and one, three or four channels."""
        return self.pairs is None and self.converts

    def levels(self, values: Any, *, declared: tuple[float, float] | None = None, inverted: bool = False) -> Tensor:
        """An image as it is held.

        Args:
            values: numpy array ``(C, H, W)`` of numbers of any type; what a mask hides becomes the lowest level.
            declared: range of the values in the words of the file itself, which holds where no range is given.
            inverted: the lowest value is white.

        Returns:
            ``(in_chans, H, W)``, uint8 or uint16; the only channel is repeated where three are wanted.

        Raises:
            UsageError: for other channels, values that are not finite, or a range that nobody has declared or that
                their type cannot fill.
        """
        if len(values) not in {self.in_chans, 1 if self.in_chans == 3 else self.in_chans}:
            raise UsageError(
                f"it has {len(values)} channels, but in_chans={self.in_chans}: change in_chans or the image."
            )
        hidden = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        values = np.ma.getdata(values)
        if values.dtype == bool or values.dtype.kind not in "uif":
            raise UsageError(f"its values are {values.dtype}, which are no numbers of a picture.")
        pairs = self.pairs
        if pairs is None:
            declared = _EIGHT_BITS if values.dtype == np.uint8 and declared is None else declared
            if declared is None:
                raise UsageError(
                    f"its values are {values.dtype}, from {values.min():.6g} to {values.max():.6g}, and the type does "
                    "not say their range: give value_range=(low, high), e.g. (0, 4095) of 12 bits."
                )
            pairs = (declared,)
        elif values.dtype.kind in "ui":
            _refuse_unfilled(pairs, values.dtype)
        if (values.dtype, self.dtype, pairs) == (np.uint8, torch.uint8, (_EIGHT_BITS,)):
            scaled = values.copy()
        else:
            scaled = _scaled(values, pairs, LEVELS[self.dtype], hidden)
        if inverted:
            scaled = LEVELS[self.dtype] - scaled
        if hidden is not None:
            scaled[hidden] = 0
        image = torch.from_numpy(np.ascontiguousarray(scaled))
        return image.expand(self.in_chans, -1, -1)

    def levels_of_item(self, item: Any) -> Tensor:
        """An item of a dataset as it is held.

        Args:
            item: PIL image, ``(C, H, W)`` or ``(H, W)`` tensor, or ``(H, W, C)`` or ``(H, W)`` numpy array, of numbers
                of any type.

        Raises:
            UsageError: as of :meth:`levels`.
        """
        from PIL import Image

        if isinstance(item, Tensor) and item.ndim in (2, 3):
            item = item.detach().cpu()
            values = (item.float() if item.dtype == torch.bfloat16 else item).numpy()
            return self.levels(values if values.ndim == 3 else values[None])
        values = np.asarray(item) if isinstance(item, Image.Image) and item.mode != "P" else item
        if not isinstance(values, np.ndarray) or values.ndim not in (2, 3):
            kind = f"an array {values.shape}" if isinstance(values, np.ndarray) else type(item).__name__
            raise UsageError(f"it is {kind}: give a PIL image, a (C, H, W) tensor or a (H, W, C) array.")
        return self.levels(values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0))


def _pairs(given: Any, in_chans: int) -> tuple[tuple[float, float], ...]:
    advice = "give (low, high) with low < high, or one such pair per channel."
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    single = len(listed) == 2 and not any(isinstance(value, Sequence) for value in listed)
    pairs = [listed] if single else listed
    for pair in pairs:
        numbers = [value for value in pair if _is_number(value)] if isinstance(pair, Sequence) else []
        if len(numbers) != 2 or len(pair) != 2 or not numbers[0] < numbers[1]:
            raise UsageError(f"value_range={given!r}: {advice}")
    if not pairs or (not single and len(pairs) != in_chans):
        raise UsageError(f"value_range={given!r} has {len(pairs)} pairs, but in_chans={in_chans}: {advice}")
    return tuple((float(low), float(high)) for low, high in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _refuse_unfilled(pairs: Sequence[tuple[float, float]], dtype: Any) -> None:
    limits = np.iinfo(dtype)
    low, high = min(low for low, _ in pairs), max(high for _, high in pairs)
    if low < limits.min or high > limits.max:
        raise UsageError(
            f"its values are {dtype}, {limits.min:,} to {limits.max:,}, which cannot fill value_range from {low:g} to "
            f"{high:g}: give their own range, or keep such images apart."
        )


def _scaled(values: Any, pairs: Sequence[tuple[float, float]], most: int, hidden: Any) -> Any:
    """Values as whole levels from 0 to ``most``, clamped."""
    exact = values.dtype.itemsize <= 2 or values.dtype == np.float32  # in float32
    values = values.astype(np.float32 if exact else np.float64)
    if hidden is not None:
        values[hidden] = pairs[0][0]
    if not np.isfinite(values).all():
        raise UsageError("it has values that are not finite (NaN or infinite): give them a value, or leave it out.")
    low, high = (np.array(ends, values.dtype)[:, None, None] for ends in zip(*pairs, strict=True))
    values -= low
    values *= most / (high - low)
    return np.rint(values.clip(0, most, out=values), out=values).astype(np.uint8 if most == 255 else np.uint16)
