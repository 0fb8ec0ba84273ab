"""The images of a transfer set as a network takes them: as they are, or under random crops."""

from collections.abc import Iterator, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from sslbolts.data.decode import ImageError, strict_pillow
from sslbolts.training.seeds import generator, mix

__all__ = ["CroppedImages", "PreparedImages", "Rows"]


class PreparedImages(Dataset[Any]):
    """A data set's PIL images as the network wants them: shorter side resized (bicubic), center cut out, normalized.

    Args:
        dataset: map-style, ``(PIL image, label)``. Of a file of several frames it gives the first, and an alpha channel
            is left out, as in the published protocol.
        size: side of the square, pixels.
        resize: length of the shorter side, of which the square is cut out; None is ``size``.
        in_chans: 1 or 3 channels.
        mean: per channel, in [0, 1]; None does not normalize.
        std: per channel.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        size: int,
        resize: int | None = None,
        in_chans: int = 3,
        mean: Any = None,
        std: Any = None,
    ) -> None:
        from torchvision.transforms import v2

        self.dataset = dataset
        self._mode = "L" if in_chans == 1 else "RGB"
        resized = v2.Resize(resize or size, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        self._prepare = v2.Compose([resized, v2.CenterCrop(size), *_as_floats(mean, std)])

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, label = self.read(index)
        return self._prepare(image), label

    def read(self, index: int) -> tuple[Any, Any]:
        """The image, of the network's channels, and its label.

        Raises:
            ImageError: if it cannot be read.
        """
        try:
            with strict_pillow():
                image, label = self.dataset[index]
        except (OSError, SyntaxError, ValueError) as error:
            raise ImageError(f"image {index} of {type(self.dataset).__name__} cannot be read: {error}") from error
        return image.convert(self._mode), label


class CroppedImages(Dataset[Any]):
    """The same images to train on: a random crop of each (8 to 100 % of the area), resized, and flipped half the time.

    Args:
        images: in evaluation's form, whose data set, channels and normalization are used.
        size: side of the square, pixels.
        interpolation: "bicubic" or "bilinear".
        mean: per channel, in [0, 1]; None does not normalize.
        std: per channel.

    Example:
        >>> from PIL import Image
        >>> images = PreparedImages([(Image.new("RGB", (6, 4)), 1)], size=4)
        >>> pixels, label = CroppedImages(images, size=4)[0, 17]
        >>> tuple(pixels.shape), label
        ((3, 4, 4), 1)
    """

    def __init__(
        self, images: PreparedImages, *, size: int, interpolation: str = "bicubic", mean: Any = None, std: Any = None
    ) -> None:
        from torchvision.transforms import v2

        self.images = images
        how = v2.InterpolationMode(interpolation)
        crop = v2.RandomResizedCrop(size, scale=(0.08, 1.0), interpolation=how, antialias=True)
        self._prepare = v2.Compose([crop, v2.RandomHorizontalFlip(), *_as_floats(mean, std)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: tuple[int, int]) -> tuple[Tensor, Any]:
        """The image of a row, and its label; what is drawn comes from the seed beside the row."""
        row, seed = which
        image, label = self.images.read(row)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._prepare(image), label


class Rows(Sampler[tuple[int, int]]):
    """All rows of a data set in an order that is drawn, and a seed for each: functions of (seed, epoch) alone.

    Args:
        count: number of rows.
        seed: of the run.

    Example:
        >>> rows = Rows(3, seed=0)
        >>> sorted(row for row, _ in rows), list(rows) == list(rows)
        ([0, 1, 2], True)
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = torch.randperm(self.count, generator=generator(self.seed, self.epoch)).tolist()
        return iter([(row, mix(self.seed, self.epoch, row)) for row in order])


def _as_floats(mean: Any, std: Any) -> list[Any]:
    from torchvision.transforms import v2

    steps: list[Any] = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return steps if mean is None else [*steps, v2.Normalize(list(mean), list(std))]
