"""PNG files of 16 bits per channel, which Pillow cuts down to 8."""

import struct
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import torch

from sslbolts.data.formats.values import Values, needed, refuse_large
from sslbolts.errors import UsageError

__all__ = ["is_deep", "load"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = ">II2B"  # width, height, bits, kind of color, at byte 16
_WITH_ALPHA = (2, 4)  # channels


def is_deep(data: bytes) -> bool:
    """True for a PNG file of 16 bits per channel."""
    return data[:8] == _SIGNATURE and data[24:25] == b"\x10"


def load(data: bytes, in_chans: int) -> Values:
    """The content of such a file; an opaque alpha channel is left out where it is one too many.

    Args:
        data: content of the file.
        in_chans: channels that are wanted.

    Raises:
        MissingPackage: where nothing that is installed reads it.
        UsageError: for one that is not opaque.
        RuntimeError: for a broken file.
    """
    width, height, _, color = struct.unpack_from(_HEADER, data, 16)
    refuse_large(height, width)
    values = _gray(data) if color == 0 else _colors(data)  # (C, H, W) uint16
    if len(values) in _WITH_ALPHA and len(values) > in_chans:
        if values[-1].min() < np.iinfo(values.dtype).max:
            raise UsageError(
                f"it has an alpha channel that is not opaque, but in_chans={in_chans}: change in_chans or the image."
            )
        values = values[:-1]
    return Values(values)


def _gray(data: bytes) -> Any:
    from PIL import Image

    return np.array(Image.open(BytesIO(data), formats=("PNG",))).astype(np.uint16)[None]


def _colors(data: bytes) -> Any:
    try:
        from torchvision.io import decode_png
    except ImportError:  # torchvision will not have it for ever
        rasterio = needed("rasterio", "PNG files of colors of 16 bits")
        with rasterio.MemoryFile(data) as memory, memory.open(driver="PNG") as file:
            return file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8)).numpy()
