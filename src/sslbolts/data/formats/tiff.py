"""TIFF files of any number of channels and bits, through tifffile; those with coordinates through rasterio."""

from io import BytesIO
from typing import Any

import numpy as np

from sslbolts.data.formats import geotiff
from sslbolts.data.formats.values import Values, needed, refuse_large
from sslbolts.errors import UsageError

__all__ = ["load"]

_CHANNELS = "CS"  # tifffile's letters of axes: channel, sample
_UNNAMED = "QI"  # a sequence of which the file does not say what it is of
_MEANINGS = {"Z": "depth", "T": "time", **dict.fromkeys(_UNNAMED, "of pages")}
_KINDS = {"MINISBLACK", "MINISWHITE", "RGB", "LINEAR_RAW"}
_OF_GDAL = ("GDAL_METADATA", "GDAL_NODATA")


def load(data: bytes, in_chans: int) -> Values:
    """The content of a TIFF file.

    Pages are channels where the file says so, or where it does not say what they are and there are as many as channels
    are wanted. Any other file of several pages is refused: none of them is taken silently.

    Args:
        data: content of the file.
        in_chans: channels that are wanted.

    Raises:
        MissingPackage: without tifffile, or rasterio where that is needed.
        UsageError: for several pages, or colors that are written in another way than as numbers of red, green and blue.
        ValueError: for a broken file.
    """
    tifffile = needed("tifffile", "TIFF files of other than 8 bits, or of other than 1, 3 or 4 channels,")
    with tifffile.TiffFile(BytesIO(data)) as file:
        first = file.pages[0]
        if file.is_geotiff or any(name in first.tags for name in _OF_GDAL):
            return geotiff.load(data)
        if len(file.series) != 1:
            raise UsageError(f"it holds {len(file.series)} images of different forms: give each a file of its own.")
        series = file.series[0]
        kind = getattr(first.photometric, "name", str(first.photometric))
        if kind not in _KINDS:
            raise UsageError(f"its colors are written as {kind}: convert it to RGB or gray.")
        refuse_large(first.imagelength, first.imagewidth)
        channels = _channel_axis(series.axes, series.shape, in_chans)
        try:
            values = series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return geotiff.load(data)  # which knows more compressions
    return Values(_in_order(values, series.axes, channels), inverted=kind == "MINISWHITE")


def _channel_axis(axes: str, shape: tuple[int, ...], in_chans: int) -> str:
    """The letter of the axis that is channels; empty for an image of one."""
    others = {axis: size for axis, size in zip(axes, shape, strict=True) if axis not in "YX" and size > 1}
    if "Y" not in axes or "X" not in axes:
        raise UsageError(f'it has the axes "{axes}": an image has Y and X.')
    for axis, size in others.items():
        if len(others) == 1 and (axis in _CHANNELS or (axis in _UNNAMED and size == in_chans)):
            return axis
    if others:
        said = " and ".join(f"{size} ({_MEANINGS.get(axis, axis)})" for axis, size in others.items())
        pages = next(iter(others.values()))
        hint = (
            f", or in_chans={pages} if they are channels" if len(others) == 1 and set(others) <= set(_UNNAMED) else ""
        )
        raise UsageError(f'it has several pages: {said}, axes "{axes}". Give each a file of its own{hint}.')
    return ""


def _in_order(values: Any, axes: str, channels: str) -> Any:
    """The array as ``(C, H, W)``; other axes have the length 1."""
    wanted = [axes.index(axis) for axis in (channels + "YX")]
    rest = [number for number in range(len(axes)) if number not in wanted]
    return np.transpose(values, (*rest, *wanted)).reshape(-1, *(values.shape[number] for number in wanted[-2:]))
