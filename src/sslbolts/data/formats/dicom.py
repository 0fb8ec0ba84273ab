"""DICOM files, through pydicom: one frame, in its units, under its window where no range of values is given."""

from io import BytesIO
from typing import Any

import numpy as np

from sslbolts.data.formats.values import Values, needed, refuse_large
from sslbolts.errors import UsageError

__all__ = ["is_dicom", "load", "windowed_values"]

_GRAY = ("MONOCHROME1", "MONOCHROME2")
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # which pydicom gives as RGB


def is_dicom(data: bytes) -> bool:
    """True for a DICOM file: its mark stands behind a preamble of 128 bytes."""
    return data[128:132] == b"DICM"


def load(data: bytes, *, windowed: bool) -> Values:
    """The content of a DICOM file.

    Gray values are in the units of the file (Hounsfield units of a CT), as its modality transformation says;
    MONOCHROME1, whose lowest value is white, is inverted.

    Args:
        data: content of the file.
        windowed: apply the file's first window or, without one, its table of values of interest: then the range is
            declared. Else a range of values takes their place.

    Raises:
        MissingPackage: without pydicom.
        UsageError: for several frames, none, or a photometric interpretation that is neither gray nor colors.
        ValueError, RuntimeError and others: for a broken file, or a compression that pydicom needs a package for.
    """
    pydicom = needed("pydicom", "DICOM files")
    pixels = needed("pydicom.pixels", "DICOM files")  # of pydicom 3
    file = pydicom.dcmread(BytesIO(data))
    if "PixelData" not in file:
        raise UsageError("it is a DICOM file without an image.")
    if (frames := int(file.get("NumberOfFrames", 1) or 1)) > 1:
        raise UsageError(f"it has {frames} frames: give each a file of its own.")
    refuse_large(file.Rows, file.Columns)
    kind = str(file.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        return _colors(pixels.apply_color_lut(file.pixel_array, file))
    if kind in _COLORS:
        return _colors(file.pixel_array)
    if kind not in _GRAY:
        raise UsageError(f"its photometric interpretation is {kind}: {', '.join((*_GRAY, *_COLORS))} are read.")
    stored, inverted = file.pixel_array, kind == "MONOCHROME1"
    values = pixels.apply_modality_lut(stored, file)
    if not windowed:
        return Values(values[None], None, inverted)
    if file.get("WindowWidth") is not None and file.get("WindowCenter") is not None:
        center, width = (_first(file[name].value) for name in ("WindowCenter", "WindowWidth"))
        shown = windowed_values(values, center, width, str(file.get("VOILUTFunction") or "LINEAR"))
        return Values(shown[None], (0.0, 1.0), inverted)
    if "VOILUTSequence" in file:
        bits = int(file.VOILUTSequence[0].LUTDescriptor[2])
        return Values(pixels.apply_voi(values, file)[None], (0.0, 2.0**bits - 1), inverted)
    if stored.dtype == np.uint8 and values is stored and file.BitsStored == 8:
        return Values(values[None], (0.0, 255.0), inverted)
    raise UsageError(
        f"it has no window, and its values are from {values.min():g} to {values.max():g}: give value_range=(low, high) "
        "in its units."
    )


def windowed_values(values: Any, center: float, width: float, function: str) -> Any:
    """Values under a window, from 0 to 1.

    Args:
        values: of any shape.
        center, width: of the window, in the units of the values.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".

    Raises:
        UsageError: for another function, or a width that is too small.

    Source: DICOM PS3.3, C.11.2.1.2 (LINEAR) and C.11.2.1.3.

    Example:
        >>> windowed_values(np.array([-1000.0, 39.5, 40.0, 3000.0]), 40, 401, "LINEAR").tolist()
        [0.0, 0.5, 0.50125, 1.0]
    """
    if width < 1 if function == "LINEAR" else width <= 0:
        raise UsageError(f"its window has the width {width:g}: give value_range=(low, high) in its units.")
    values = np.asarray(values, np.float64)
    if function == "LINEAR":
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        return ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    if function == "LINEAR_EXACT":
        return ((values - center) / width + 0.5).clip(0, 1)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    raise UsageError(f"its window has the function {function}: give value_range=(low, high) in its units.")


def _colors(values: Any) -> Values:
    """``(H, W, 3)`` to channels, of 8 bits as a range that the type says."""
    return Values(np.moveaxis(values, -1, 0), (0.0, 255.0) if values.dtype == np.uint8 else None)


def _first(value: Any) -> float:
    return float(value if isinstance(value, int | float | str) else value[0])
