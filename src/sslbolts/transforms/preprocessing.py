"""The preparation of images for a network, which its weights do not tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["IMAGENET", "IMAGENET_MEAN", "IMAGENET_STD", "Preprocessing", "range_in_words"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's training images per channel, in [0, 1]."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's training images per channel, in [0, 1]."""


@dataclass(frozen=True)
class Preprocessing:
    """The images that a network was made for; None where something is not known.

    Images in [0, 1] that were not normalized have mean 0 and deviation 1.

    Attributes:
        image_size: side of the images, pixels.
        mean: per channel, in [0, 1], subtracted from images in [0, 1].
        std: per channel, in [0, 1], by which they are divided then.
        in_chans: channels of an image.
        interpolation: of the resizing in the network's own evaluation, "bicubic" or "bilinear".
        crop_pct: part of the resized image's shorter side that this evaluation cut out.
        value_range: the values that 0 and 1 in an image stood for, ``((low, high),)`` or a pair per channel; empty for
            images of 8 bits, whose type says it.

    Example:
        >>> Preprocessing(32, (0.5,), (0.25,)).plain
        {'image_size': 32, 'mean': (0.5,), 'std': (0.25,)}
    """

    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    in_chans: int = 3
    interpolation: str | None = None
    crop_pct: float | None = None
    value_range: tuple[tuple[float, float], ...] | None = None

    @property
    def neutral(self) -> bool:
        """True where images were seen as they are, in [0, 1]."""
        return self.mean is not None and self.std is not None and not any(self.mean) and set(self.std) == {1.0}

    @property
    def plain(self) -> dict[str, Any]:
        """Size, normalization and a range of values as a dictionary of plain types, which files have as JSON."""
        found: dict[str, Any] = {"image_size": self.image_size, "mean": self.mean, "std": self.std}
        return found | ({} if self.value_range is None else {"value_range": self.value_range})

    def size_notes(self, size: int) -> list[str]:
        """A sentence where images are of another size than in training; none elsewhere, or where it is not known."""
        if self.image_size in (None, size):
            return []
        return [f"the network was trained on images of {self.image_size} pixels, and sees images of {size} here."]

    def range_notes(self, pairs: Sequence[tuple[float, float]]) -> list[str]:
        """A sentence where other values stand for 0 and 1 than in training; none elsewhere, or where it is not known.

        Args:
            pairs: of the images here, as ``value_range``.

        Example:
            >>> Preprocessing(value_range=((0, 4095),)).range_notes(())
            ['values of 0 to 4095 were 0 to 1 in training (value_range), and here values of 0 to 255 (8 bits) are.']
            >>> Preprocessing(in_chans=2, value_range=((0, 10),)).range_notes([(0, 10), (0, 10)])
            []
        """
        if self.value_range is None:
            return []
        own, here = ((*of,) * (self.in_chans if len(of) == 1 else 1) for of in (self.value_range, pairs))
        if own == here:
            return []
        was, are = range_in_words(self.value_range), range_in_words(pairs)
        return [f"values of {was} were 0 to 1 in training (value_range), and here values of {are} are."]

    def unnormalized(self) -> "Preprocessing":
        """The same for images that were seen as they are, in [0, 1]."""
        return replace(self, mean=(0.0,) * self.in_chans, std=(1.0,) * self.in_chans)

    @classmethod
    def of(cls, values: Any) -> "Preprocessing | None":
        """From a dictionary with the keys of ``plain`` and perhaps others; None where they are not there.

        A DataModule's has ``in_chans``, too, and no mean where images are not normalized.

        Example:
            >>> entry = Preprocessing.of({"image_size": 28, "mean": None, "std": None, "in_chans": 1})
            >>> entry.image_size, entry.mean, entry.std
            (28, (0.0,), (1.0,))
        """
        if not isinstance(values, Mapping) or not {"image_size", "mean", "std"} <= values.keys():
            return None
        size, mean, std, channels = values["image_size"], values["mean"], values["std"], values.get("in_chans")
        pairs = _pairs(values.get("value_range")) if "value_range" in values else None
        if mean is None and isinstance(channels, int):
            return cls(size, in_chans=channels, value_range=pairs).unnormalized()
        channels = channels or (len(mean) if mean else 3)
        return cls(size, mean and tuple(mean), std and tuple(std), in_chans=channels, value_range=pairs)


def range_in_words(pairs: Sequence[tuple[float, float]]) -> str:
    """A range of values, or one per channel.

    Example:
        >>> range_in_words(()), range_in_words(((0, 1), (-1, 3.5)))
        ('0 to 255 (8 bits)', '0 to 1, -1 to 3.5')
    """
    return ", ".join(f"{low:g} to {high:g}" for low, high in pairs) or "0 to 255 (8 bits)"


def _pairs(given: Any) -> tuple[tuple[float, float], ...] | None:
    """As a file says them; None where it says something else."""
    try:
        return tuple((float(low), float(high)) for low, high in given or ())
    except (TypeError, ValueError):
        return None


IMAGENET = Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD)
"""The preprocessing of nearly everything published."""
