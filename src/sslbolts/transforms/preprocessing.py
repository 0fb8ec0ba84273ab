"""The preparation of images for a network, which its weights do not tell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["IMAGENET", "IMAGENET_MEAN", "IMAGENET_STD", "Preprocessing"]

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

    @property
    def neutral(self) -> bool:
        """True where images were seen as they are, in [0, 1]."""
        return self.mean is not None and self.std is not None and not any(self.mean) and set(self.std) == {1.0}

    @property
    def plain(self) -> dict[str, Any]:
        """Size and normalization as a dictionary of plain types, which files have as JSON."""
        return {"image_size": self.image_size, "mean": self.mean, "std": self.std}

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
        if mean is None and isinstance(channels, int):
            return cls(size, in_chans=channels).unnormalized()
        return cls(size, mean and tuple(mean), std and tuple(std), in_chans=channels or (len(mean) if mean else 3))


IMAGENET = Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD)
"""The preprocessing of nearly everything published."""
