"""The channels of an image that are colors: those that color operations change."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["change_", "change_rows_", "color_channels", "put", "take"]

_COLORS = {1: (0,), 3: (0, 1, 2), 4: (0, 1, 2)}  # of images of so many channels


def color_channels(given: Sequence[int] | None, in_chans: int) -> tuple[int, ...]:
    """The channels that color operations change: red, green and blue in this order, or one of gray, or none.

    Args:
        given: their positions, from 0; None is the one of gray images, the first three of 3 and 4 channels, and none of
            any other number.
        in_chans: channels of the images.

    Raises:
        UsageError: for a channel that the images do not have, one that comes twice, or another number of them.

    Example:
        >>> color_channels(None, 4), color_channels(None, 13), color_channels([3, 2, 1], 13)
        ((0, 1, 2), (), (3, 2, 1))
    """
    if given is None:
        return _COLORS.get(in_chans, ())
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    channels = tuple(given) if listed else ()
    whole = all(isinstance(channel, int) and not isinstance(channel, bool) for channel in channels)
    if not listed or len(channels) not in (0, 1, 3) or len(set(channels)) < len(channels) or not whole:
        raise UsageError(
            f"color_channels={given!r} must be three different channels (of red, green and blue), one (of gray) or "
            "none, each by its position, from 0."
        )
    if channels and not 0 <= min(channels) <= max(channels) < in_chans:
        raise UsageError(
            f"color_channels={list(channels)} are not all there: with in_chans={in_chans} channels are 0 to "
            f"{in_chans - 1}."
        )
    return channels


def take(images: Tensor, channels: tuple[int, ...]) -> Tensor:
    """These channels of images ``(n, C, H, W)``: a view of neighbors in their order, else a copy."""
    if _neighbors(channels):
        return images[:, channels[0] : channels[-1] + 1]
    return torch.stack([images[:, channel] for channel in channels], 1)  # an index would wait for a device


def put(images: Tensor, channels: tuple[int, ...], changed: Tensor) -> Tensor:
    """Images with these channels exchanged for others ``(n, len(channels), H, W)``; nothing is changed in place."""
    if len(channels) == images.shape[1] and _neighbors(channels):
        return changed
    planes = list(images.unbind(1))
    for channel, plane in zip(channels, changed.unbind(1), strict=True):
        planes[channel] = plane
    return torch.stack(planes, 1)


def change_(images: Tensor, channels: tuple[int, ...], operation: Callable[[Tensor], object]) -> None:
    """An operation that works in place, on these channels of images."""
    part = take(images, channels)
    operation(part)
    if not _neighbors(channels):
        for channel, plane in zip(channels, part.unbind(1), strict=True):
            images[:, channel] = plane


def change_rows_(
    images: Tensor, rows: Tensor, channels: tuple[int, ...], operation: Callable[[Tensor], Tensor]
) -> None:
    """The same of some of the images, with what the operation gives of a copy of them."""
    if _neighbors(channels):
        part = take(images, channels)
        part[rows] = operation(part.index_select(0, rows))
        return
    changed = operation(take(images.index_select(0, rows), channels))
    for channel, plane in zip(channels, changed.unbind(1), strict=True):
        images[rows, channel] = plane


def _neighbors(channels: tuple[int, ...]) -> bool:
    return channels == tuple(range(channels[0], channels[0] + len(channels)))
