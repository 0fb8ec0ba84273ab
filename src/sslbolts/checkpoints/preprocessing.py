"""How images enter a network: the one thing that its weights do not tell."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["IMAGENET", "Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """What images went through before the network saw them; None where it is not known.

    Images in [0, 1] that were not normalized have mean 0 and deviation 1.

    Attributes:
        image_size: side of the images, pixels.
        mean: per channel, in [0, 1], subtracted from images in [0, 1].
        std: per channel, in [0, 1], by which they are divided then.

    Example:
        >>> Preprocessing(32, (0.5,), (0.25,)).plain
        {'image_size': 32, 'mean': (0.5,), 'std': (0.25,)}
    """

    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def neutral(self) -> bool:
        """Whether images were seen as they are, in [0, 1]."""
        return self.mean is not None and self.std is not None and not any(self.mean) and set(self.std) == {1.0}

    @property
    def plain(self) -> dict[str, Any]:
        """As a dictionary of plain types, which JSON takes."""
        return asdict(self)

    @classmethod
    def of(cls, values: Any) -> "Preprocessing | None":
        """From a dictionary with these keys and perhaps others; None where it has none of them.

        A DataModule's has ``in_chans``, too, and no mean where images are not normalized.

        Example:
            >>> Preprocessing.of({"image_size": 28, "mean": None, "std": None, "in_chans": 1})
            Preprocessing(image_size=28, mean=(0.0,), std=(1.0,))
        """
        if not isinstance(values, Mapping) or not {"image_size", "mean", "std"} <= values.keys():
            return None
        mean, std = values["mean"], values["std"]
        if mean is None and isinstance(values.get("in_chans"), int):
            return cls(values["image_size"], (0.0,) * values["in_chans"], (1.0,) * values["in_chans"])
        return cls(values["image_size"], mean and tuple(mean), std and tuple(std))


IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""That of nearly everything published."""
