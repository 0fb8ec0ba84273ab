"""Image files of every format: one file per format, each with one function that loads it."""

from sslbolts.data.formats.reading import MissingPackage, read_image

__all__ = ["MissingPackage", "read_image"]
