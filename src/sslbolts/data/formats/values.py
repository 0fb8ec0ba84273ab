"""The content of a file before it is scaled, and what its readers share."""

from importlib import import_module
from typing import Any, NamedTuple

from sslbolts.errors import UsageError

__all__ = ["MissingPackage", "Values", "needed", "refuse_large"]


class MissingPackage(UsageError):
    """A format needs a package that is not installed; no file of it can be read."""


class Values(NamedTuple):
    """The numbers in a file.

    Attributes:
        values: numpy array ``(C, H, W)``, perhaps masked.
        declared: lowest and highest value where the file itself says them; None where it does not.
        inverted: the lowest value is white.
    """

    values: Any
    declared: tuple[float, float] | None = None
    inverted: bool = False


def needed(package: str, files: str) -> Any:
    """A package of the extra "formats".

    Args:
        package: its name.
        files: the files that it reads, for the message.

    Raises:
        MissingPackage: if it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise MissingPackage(
            f'{files} are read by {package}, which is not installed: pip install "sslbolts[formats]".'
        ) from None


def refuse_large(height: int, width: int) -> None:
    """Refuses more pixels than Pillow would decode.

    Raises:
        UsageError: names the limit.
    """
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and height * width > most:
        raise UsageError(f"it has more than {most:,} pixels: make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS.")
