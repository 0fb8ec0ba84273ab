"""From the bytes of an image file, or from an item of somebody's dataset, to a uint8 tensor ``(C, H, W)``."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sslbolts.checks import read_regular
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFile import ImageFile

__all__ = ["FORMATS", "ImageError", "as_image", "decode", "opened", "strict_pillow"]

FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pgm", ".ppm"),
}
"""Formats that are read, by Pillow's names, and the extensions of their files. Pillow would try many more."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_COUNT = {1: "one channel (grayscale)", 3: "three channels (RGB)", 4: "four channels (RGBA)"}
# Modes of Pillow that become the declared one without losing anything.
_CONVERTIBLE = {1: {"1"}, 3: {"1", "L", "CMYK", "YCbCr", "LAB", "HSV"}, 4: {"LA", "PA", "RGBa"}}
_OPAQUE = {"LA": "L", "RGBA": "RGB"}  # without an alpha channel
_WITH_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA", "P": "RGBA"}  # where one color is transparent
# Tags of TIFF.
_BITS, _CHANNELS, _SAMPLE_FORMAT, _COLOR_MAP = 258, 277, 339, 320
_GRAY_BITS = {"L;2": 2, "L;4": 4}  # of a PNG file, by how its pixels are written
_DEEP = ("I", "F")  # modes of more than 8 bits, by their first letters
_UNSIGNED = {1, 4}  # 4 is "undefined"


class ImageError(UsageError):
    """An image that cannot be used; the message names it."""

    def __init__(self, message: str) -> None:
        # A DataLoader raises a worker's error again, with the worker's whole traceback as its message.
        super().__init__(message.rsplit(f"{__name__}.ImageError: ", 1)[-1].strip())


def decode(data: bytes, in_chans: int = 3) -> Tensor:
    """Decodes an image file, turned upright as its EXIF orientation says.

    simplejpeg, where it is installed, decodes plain JPEG files; Pillow everything else and what simplejpeg refuses.
    Both give the same pixels. The size that the file declares is looked at before either decodes: it may be
    ``PIL.Image.MAX_IMAGE_PIXELS`` at most (89 million, unless you set another number).

    Args:
        data: content of the file, in one of :data:`FORMATS`.
        in_chans: 1, 3 or 4. An image is converted where that loses nothing (grayscale to RGB, CMYK to RGB, an opaque
            alpha channel left out, a palette of grays to grayscale), and refused otherwise. Of the auxiliary pictures
            that a camera appends to a JPEG file (previews, maps of depth or gain) none is read.

    Returns:
        ``(in_chans, H, W)`` uint8.

    Raises:
        UsageError: if it has other channels, more than 8 bits, signed numbers, several frames or pages, or too many
            pixels.
        OSError, ValueError, SyntaxError: if it cannot be read; Pillow and simplejpeg raise any of them.

    Example:
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("L", (6, 4), 255).save(file, "png")
        >>> tuple(decode(file.getvalue(), in_chans=3).shape)
        (3, 4, 6)
    """
    if data[:2] == b"\xff\xd8" and b"Exif\0" not in data and b"tiff:Orientation" not in data:
        image = _simplejpeg(data, in_chans)
        if image is not None:
            return image
    from PIL import ImageOps

    with opened(data) as file:
        _refuse_several(file)
        return _from_pil(ImageOps.exif_transpose(file), in_chans)


def opened(data: bytes) -> "ImageFile":
    """An image file whose header Pillow has read, and whose pixels it has not.

    Args:
        data: content of the file, in one of :data:`FORMATS`.

    Raises:
        UsageError: if it declares more than ``PIL.Image.MAX_IMAGE_PIXELS``, or has bits, signs or channels for which
            Pillow's modes have no place.
        ValueError: if it is of another format.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file = Image.open(BytesIO(data), formats=tuple(FORMATS))
    except UnidentifiedImageError:  # whose message is of the bytes' address
        raise ValueError(f"its content is none of {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # Pillow's own: from twice as many on
        raise _too_large() from None
    _refuse_large(*file.size)
    _refuse_lossy(file)
    return file


@contextmanager
def strict_pillow() -> Iterator[None]:
    """While a library opens image files itself, ``PIL.Image.open`` refuses what :func:`opened` refuses.

    So too files that are no regular ones, or too large. Of several frames the library gets the first.

    Raises:
        OSError, UsageError, ValueError: from ``PIL.Image.open``.
    """
    from PIL import Image

    pillows_own = Image.open

    def strictly(source: Any, *_: Any, **__: Any) -> "ImageFile":
        data = source.read() if hasattr(source, "read") else read_regular(source)
        Image.open = pillows_own
        try:
            return opened(data)
        finally:
            Image.open = strictly  # type: ignore[assignment]

    Image.open = strictly  # type: ignore[assignment]
    try:
        yield
    finally:
        Image.open = pillows_own


def as_image(item: Any, in_chans: int) -> Tensor:
    """The image that an item of a dataset holds.

    Args:
        item: PIL image; ``(C, H, W)`` or ``(H, W)`` tensor, uint8 or float in [0, 1]; ``(H, W, C)`` or ``(H, W)``
            numpy array of uint8.
        in_chans: any number of arrays and tensors; 1, 3 or 4 of PIL images.

    Returns:
        ``(in_chans, H, W)`` uint8.

    Raises:
        UsageError: for anything else; the message says what it is.

    Example:
        >>> as_image(torch.ones(1, 2, 2), 1).unique().tolist()
        [255]
    """
    import numpy as np
    from PIL import Image

    if isinstance(item, Image.Image):
        _refuse_several(item)
        _refuse_lossy(item)
        return _from_pil(item, in_chans)
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3):
            raise UsageError(
                f"it is a numpy array of {item.dtype} {item.shape}: give uint8 (H, W, C), or value_range=(low, high)."
            )
        image = torch.from_numpy(np.ascontiguousarray(item))
        image = image[None] if image.ndim == 2 else image.permute(2, 0, 1)
    elif isinstance(item, Tensor) and item.ndim in (2, 3) and (item.dtype == torch.uint8 or item.is_floating_point()):
        image = item if item.ndim == 3 else item[None]
        if image.is_floating_point():
            low, high = (float(value) for value in image.aminmax())
            if not (low >= 0 and high <= 1):
                raise UsageError(
                    f"it is a float tensor with values from {low:.3g} to {high:.3g}: give [0, 1] or uint8; leave "
                    "Normalize out of the dataset's transform, the DataModule normalizes. Of other numbers, give "
                    "value_range=(low, high)."
                )
            image = (image.float() * 255).round().to(torch.uint8)
    else:
        kind = f"a tensor of {item.dtype} {tuple(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
        raise UsageError(
            f"it is {kind}: give a PIL image, a (C, H, W) tensor or a uint8 (H, W, C) array, "
            "or value_range=(low, high) for numbers of other types."
        )
    if image.shape[0] == 1 and in_chans == 3:
        return image.expand(3, -1, -1)
    if image.shape[0] != in_chans:
        raise _wrong_channels(f"{image.shape[0]} channels", in_chans)
    return image


def _simplejpeg(data: bytes, in_chans: int) -> Tensor | None:
    """The image, or None where simplejpeg is missing, refuses the file or would convert it otherwise than Pillow."""
    try:
        import simplejpeg
    except ImportError:
        return None
    try:
        height, width, coding, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    _refuse_large(width, height)
    try:
        if (coding, in_chans) == ("Gray", 1):
            return torch.from_numpy(simplejpeg.decode_jpeg(data, "GRAY")).permute(2, 0, 1)
        if coding == "YCbCr" and in_chans == 3:
            return torch.from_numpy(simplejpeg.decode_jpeg(data, "RGB")).permute(2, 0, 1)
    except ValueError:
        pass
    return None


def _from_pil(image: Any, in_chans: int) -> Tensor:
    import numpy as np

    if in_chans not in _MODES:
        raise _wrong_channels(f'mode "{image.mode}"', in_chans)
    wanted = _MODES[in_chans]
    if image.mode != wanted or "transparency" in image.info:
        mode = image.mode
        if mode == "P":
            image = _without_palette(image)
        elif "transparency" in image.info and mode in _WITH_ALPHA:
            image = image.convert(_WITH_ALPHA[mode])
        if image.mode in _OPAQUE and in_chans != 4 and (in_chans == 3 or image.mode == "LA"):
            if image.getextrema()[-1] != (255, 255):
                raise _wrong_channels("an alpha channel that is not opaque", in_chans)
            image = image.convert(_OPAQUE[image.mode])
        if image.mode != wanted and image.mode not in _CONVERTIBLE[in_chans]:
            raise _wrong_channels(f'mode "{mode}"', in_chans)
        image = image.convert(wanted)
    pixels = torch.from_numpy(np.array(image))  # (H, W) or (H, W, C)
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _without_palette(image: Any) -> Any:
    """The colors of an image with a palette, with alpha where it has that, gray where all of them are."""
    if "transparency" in image.info:
        return image.convert("RGBA")
    image = image.convert("RGB")
    red, green, blue = image.split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else image


def _refuse_large(width: int, height: int) -> None:
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large()


def _too_large() -> UsageError:
    from PIL import Image

    return UsageError(
        f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS."
    )


def _refuse_several(image: "PILImage") -> None:
    """Refuses an image of several frames; sets right a transparent gray that Pillow would not find."""
    bits = _GRAY_BITS.get(str(_arguments(image)))
    if isinstance(gray := image.info.get("transparency"), int) and image.format == "PNG":
        if image.mode == "1":
            image.info["transparency"] = 255 if gray else 0  # up to Pillow 11 it is 1, beside pixels of 255
        elif bits:
            image.info["transparency"] = gray * 255 // (2**bits - 1)  # the pixels are scaled so, and this is not
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UsageError("it has several frames or pages: give each a file of its own.")


def _refuse_lossy(image: "PILImage") -> None:
    """Refuses an image in which Pillow's modes have no place for all channels, bits or signs."""
    bits, deep = _bits(image), image.mode.startswith(_DEEP)
    if bits > 8 or deep:
        given = f'mode "{image.mode}"' if deep else f"{bits} per channel"
        raise UsageError(
            f"its pixels have more than 8 bits ({given}): give value_range=(low, high), or convert it to 8 bits."
        )
    tags = getattr(image, "tag_v2", {})
    if not _UNSIGNED.issuperset(tags.get(_SAMPLE_FORMAT, (1,))):
        raise UsageError(
            "its pixels are signed numbers: give value_range=(low, high), or convert it to unsigned ones of 8 bits."
        )
    channels = tags.get(_CHANNELS, 1)
    known = 1 if image.mode == "P" else len(image.getbands())
    if channels > known:
        raise UsageError(
            f'it has {channels} channels, of which Pillow reads {known} ("{image.mode}"): leave those out.'
        )


def _bits(image: "PILImage") -> int:
    """Bits per channel in the file, as far as its header still says it."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        whole = all(value % 257 == 0 or value % 256 == 0 for value in tags.get(_COLOR_MAP, ()))
        return max(tags.get(_BITS, (1,))) if whole else 16  # colors of 8 bits are written twice, or before zeros
    arguments = _arguments(image)
    if image.format == "PPM" and isinstance(arguments, tuple) and arguments:
        return int(arguments[-1]).bit_length()  # the largest value
    return 16 if ";16" in str(arguments) and image.format == "PNG" else 8


def _arguments(image: "PILImage") -> Any:
    """The form of the pixels in the file, in the words of the decoder; empty once they are decoded."""
    tiles = getattr(image, "tile", None)
    return tiles[0][-1] if tiles else ()


def _wrong_channels(has: str, in_chans: int) -> UsageError:
    count = _COUNT.get(in_chans, f"{in_chans} channels")
    return UsageError(f"it has {has}, but in_chans={in_chans} declares {count}: change in_chans or the image.")
