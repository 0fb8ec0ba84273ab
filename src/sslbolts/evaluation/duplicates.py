"""Near-duplicates among the images of a data set: pairs and groups whose features are nearly the same."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import whole
from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.data.evaluation import EvaluationImages
from sslbolts.data.paths import paths_of
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import features_of
from sslbolts.readouts.near_duplicates import Pairs, check_threshold, groups_of, near_duplicates

__all__ = ["Duplicates", "Place", "find_duplicates", "shown"]

_SPLITS: tuple[Split, ...] = ("train", "val", "test", "bank")


@dataclass(frozen=True)
class Place:
    """An image of a DataModule.

    Attributes:
        split: that it was found in.
        row: there.
        path: its file; None where it has none.
    """

    split: Split
    row: int
    path: str | None = None

    @property
    def name(self) -> str:
        """The file as text, or split and row; one line without anything that a terminal would obey.

        Example:
            >>> Place("train", 3).name, Place("val", 0, "a\\tb.png").name
            ('train 3', 'a\\\\tb.png')
        """
        text = f"{self.split} {self.row}" if self.path is None else self.path
        readable = os.fsencode(text).decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable)


@dataclass(frozen=True)
class Duplicates:
    """What :func:`find_duplicates` found.

    Attributes:
        places: of all images that were compared.
        pairs: rows of ``places``, the most similar pairs first.
        groups: ``(P,)`` the group of each pair.
        mean_similarity: of two different images, by the cosine.
        unreadable: images that were left out.
    """

    places: list[Place] = field(repr=False)
    pairs: Pairs
    groups: Tensor
    mean_similarity: float
    unreadable: int

    @property
    def across(self) -> int:
        """Pairs of images from different splits."""
        splits = [place.split for place in self.places]
        return sum(splits[a] != splits[b] for a, b in zip(self.pairs.first.tolist(), self.pairs.second.tolist()))


def find_duplicates(
    encoder: Encoder,
    data: SSLDataModule,
    *,
    threshold: float = 0.95,
    max_pairs: int = 100,
    cache: str | Path | None = None,
) -> Duplicates:
    """Pairs of images whose features are nearly the same, of all splits of a data set; labels are not needed.

    Every image is compared with every other, see :func:`~sslbolts.readouts.near_duplicates`. The same file in two
    splits is one image.

    Args:
        encoder: whose features are compared; what counts as the same is what it does not tell apart.
        data: its images, of all splits.
        threshold: cosine similarity of features from which on two images are near-duplicates, in (0, 1].
        max_pairs: find so many pairs, the nearest.
        cache: folder of :func:`~sslbolts.evaluation.features.features_of`.

    Raises:
        UsageError: for a value out of its range, or fewer than two images.

    Example:
        >>> from sslbolts.data import DatasetDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> gray = torch.zeros(3, 3, 8, 8, dtype=torch.uint8) + torch.tensor([90, 90, 40]).view(3, 1, 1, 1).byte()
        >>> gray[2, 0] = 200
        >>> data = DatasetDataModule(torch.utils.data.TensorDataset(gray), image_size=8, num_workers=0)
        >>> found = find_duplicates(load_encoder(torch.nn.Flatten(), image_size=8, device="cpu"), data)
        >>> [(found.places[a].name, found.places[b].name) for a, b in zip(found.pairs.first, found.pairs.second)]
        [('train 0', 'train 1')]
    """
    check_threshold(threshold)
    whole(max_pairs=max_pairs)
    data.prepare_data()
    data.setup()
    places: list[Place] = []
    features: list[Tensor] = []
    unreadable = 0
    seen: list[object] = []
    files: set[str] = set()
    for split in _SPLITS:
        if not data.has_images(split) or any(data.images(split) is images for images in seen):
            continue
        images = data.images(split)
        if split == "bank" and not images.labeled:
            continue
        seen.append(images)
        paths = paths_of(images)
        found = features_of(encoder, data, split, cache=cache)
        unreadable += len(images) - len(found.indices)
        kept = []
        for number, row in enumerate(found.indices.tolist()):
            path = None if paths is None else paths[row]
            if path is None or os.path.abspath(path) not in files:
                kept.append(number)
                places.append(Place(split, row, path))
            if path is not None:
                files.add(os.path.abspath(path))
        features.append(found.features[kept])
    if len(places) < 2:
        raise UsageError(
            f"{type(data).__name__} has {len(places)} image: near-duplicates are sought among two or more."
        )
    of_all = torch.cat(features)
    pairs = near_duplicates(of_all.to(encoder.device), threshold=threshold, most=max_pairs)
    return Duplicates(places, pairs, groups_of(pairs.first, pairs.second), _mean_similarity(of_all), unreadable)


def shown(data: SSLDataModule, place: Place) -> Tensor:
    """The image ``(C, S, S)`` uint8 of a place, as evaluation sees it."""
    dataset = data.evaluation_dataloader(place.split).dataset
    assert isinstance(dataset, EvaluationImages)
    return dataset.cut([place.row])[0]


def _mean_similarity(features: Tensor) -> float:
    """Of all pairs of different rows: the square of their sum has each pair twice, and each row with itself."""
    unit = F.normalize(features.double(), dim=1)
    count = len(unit)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (count * (count - 1)))
