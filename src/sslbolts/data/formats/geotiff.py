"""GeoTIFF files, through rasterio: all bands, without their coordinates."""

import warnings

import numpy as np

from sslbolts.data.formats.values import Values, needed, refuse_large
from sslbolts.errors import UsageError

__all__ = ["load"]


def load(data: bytes) -> Values:
    """The bands of a file, in their order, in its units (scale and offset applied).

    Pixels without data, as the file marks them, are hidden by a mask.

    Args:
        data: content of the file.

    Raises:
        MissingPackage: without rasterio.
        UsageError: for several pages.
        ValueError: for a broken file.
    """
    rasterio = needed("rasterio", "GeoTIFF files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
                if file.subdatasets:
                    raise UsageError(
                        f"it has {len(file.subdatasets)} pages: give each a file of its own, or write them as bands."
                    )
                refuse_large(file.height, file.width)
                values = file.read(masked=True)  # (bands, H, W)
                scales, offsets = np.array(file.scales), np.array(file.offsets)
        except rasterio.errors.RasterioError as error:
            raise ValueError(str(error)) from error
    if (scales != 1).any() or (offsets != 0).any():
        values = values * scales[:, None, None] + offsets[:, None, None]
    return Values(values if np.ma.is_masked(values) else np.ma.getdata(values))
