"""From the bytes of an image file to an image as a DataModule holds it, by whatever reads its format."""

from torch import Tensor

from sslbolts.data.decode import decode
from sslbolts.data.formats import dicom, png, tiff
from sslbolts.data.formats.values import MissingPackage, Values
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError

__all__ = ["MissingPackage", "read_image"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of files above 4 GB


def read_image(data: bytes, form: PixelForm) -> Tensor:
    """An image file's pixels.

    Pillow (or simplejpeg) reads what has 8 bits and one, three or four channels; tifffile, rasterio and pydicom, of the
    extra "formats", all other TIFF files, GeoTIFF files and DICOM files; torchvision PNG files of 16 bits.

    Args:
        data: content of the file.
        form: channels, and the range of values.

    Returns:
        ``(in_chans, H, W)``, uint8; or, with a value range, uint16.

    Raises:
        UsageError: for an image that does not fit the form.
        MissingPackage: for a format that needs a package.
        OSError, ValueError, SyntaxError: if it cannot be read; its readers raise any of them.

    Example:
        >>> from io import BytesIO
        >>> import numpy as np
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.fromarray(np.array([[0, 1000, 2000]], np.uint16)).save(file, "png")
        >>> read_image(file.getvalue(), PixelForm(1, (0, 2000))).tolist()
        [[[0, 32768, 65535]]]
    """
    if dicom.is_dicom(data):
        return _held(dicom.load(data, windowed=form.pairs is None), form)
    is_tiff = data[:4] in _TIFF
    if form.plain:
        try:
            return decode(data, form.in_chans)
        except ValueError as error:
            if not is_tiff or isinstance(error, UsageError):
                raise
    if is_tiff:
        return _held(tiff.load(data, form.in_chans), form)
    if png.is_deep(data):
        return _held(png.load(data, form.in_chans), form)
    if not form.converts:
        raise UsageError(
            f"it is no TIFF, DICOM or 16-bit PNG file, which alone are read with in_chans={form.in_chans}: change "
            "in_chans or the image."
        )
    return form.levels(decode(data, form.in_chans).numpy())


def _held(found: Values, form: PixelForm) -> Tensor:
    return form.levels(found.values, declared=found.declared, inverted=found.inverted)
