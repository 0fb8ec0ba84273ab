"""Pictures of what a network has learned, drawn after training."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.data.evaluation import EvaluationImages, collate
from sslbolts.data.paths import paths_of
from sslbolts.data.workers import worker_settings
from sslbolts.errors import UsageError, first_line
from sslbolts.evaluation.diagnosis.information import chosen_rows
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData, Features, data_name, features_of
from sslbolts.evaluation.identity import data_identity
from sslbolts.networks.attention import attending, class_attention, find_attention
from sslbolts.networks.raw_pixels import raw_pixels
from sslbolts.pictures.attention import draw_attention
from sslbolts.pictures.augmentations import draw_augmentations
from sslbolts.pictures.clusters import cluster_count, cluster_directions, draw_clusters
from sslbolts.pictures.embedding import draw_embedding
from sslbolts.pictures.neighbors import choose_queries, draw_neighbors, nearest_beside_pixels
from sslbolts.pictures.projections import available_projections, project
from sslbolts.pictures.style import thumbnails
from sslbolts.transforms.levels import pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DRAW", "FEWEST_IMAGES", "LABELS_WOULD_SHOW", "ChosenImages", "Subject"]

LABELS_WOULD_SHOW = (
    "There are no labels. With a folder for each class, neighbors of the same class are framed, and points and "
    "clusters have the colors and names of their classes."
)
"""Of pictures of unlabeled images."""
_SEVERAL = "Images may show several classes (multi_label=True), of which pictures have no names or colors."

FEWEST_IMAGES = 4
"""Of a picture of features."""
_NEIGHBORS = 6  # of each image


class ChosenImages(Dataset[Any]):
    """Some images of a split, normalized.

    Args:
        images: of the split, uint8 or uint16.
        rows: which of them.
        mean: per channel; None for none.
        std: as ``mean``.
    """

    def __init__(self, images: EvaluationImages, rows: Tensor, mean: Any, std: Any) -> None:
        self.images = images
        self.rows = rows.tolist()
        self.mean, self.std = (None if x is None else torch.tensor(x).view(-1, 1, 1) for x in (mean, std))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        item = self.images[self.rows[place]]
        if item is None:
            return None
        image = pixels_of(item[0])
        if self.mean is not None and self.std is not None:
            image = (image - self.mean) / self.std
        return image, item[1], item[2]


@dataclass
class Subject:
    """A network and images to draw, and how many of them; features are computed once for all pictures.

    Attributes:
        encoder: the network.
        data: where images come from.
        images: of embedding and clusters, at most.
        bank_images: among which neighbors are sought, at most.
        rows: images of sheets.
        seed: of what is drawn at random.
        cache: folder of features.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> subject = Subject(load_encoder(torch.nn.Flatten(), image_size=32), CIFAR10MiniDataModule(), 20, 20)
        >>> type(DRAW["clusters"](subject)).__name__
        'Figure'
    """

    encoder: Encoder
    data: SSLDataModule
    images: int = 1000
    bank_images: int = 10_000
    rows: int = 8
    seed: int = 0
    cache: str | None = None

    def fitting(self) -> list[str]:
        """Names of the pictures that can be drawn of this network; its views are not known, so none of them."""
        names = ["neighbors", "embedding", "clusters"]
        try:
            find_attention(self.encoder.backbone)
        except UsageError:
            return names
        return [*names, "attention"]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Which data it is; see :func:`sslbolts.evaluation.identity.data_identity`."""
        return data_identity(self.data)

    @cached_property
    def title(self) -> str:
        """The network, its layer, and the data."""
        features = "" if self.encoder.feature_name == "backbone" else f" ({self.encoder.feature_name})"
        return f"{self.encoder.name}{features} on {self.shown_data}"

    @property
    def shown_data(self) -> str:
        """The data set, with the name of its folder."""
        folder = self.identity.get("folder")
        return data_name(self.data) + (f" ({PurePath(folder).name})" if folder else "")

    @cached_property
    def query_split(self) -> Split:
        """The validation images; where none are held out, the training images."""
        return "val" if self.data.has_images("val") else "train"

    @cached_property
    def bank_split(self) -> Split:
        """The labeled training images; where there are none, all training images."""
        return "bank" if self.data.has_images("bank") and self.data.images("bank").labeled else "train"

    @cached_property
    def queries(self) -> tuple[Tensor, Features]:
        """Small copies of images that are not trained on (or, where none are held out, of any), and their features."""
        return self._read(self.query_split, self.images)

    @cached_property
    def bank(self) -> tuple[Tensor, Features]:
        """Small copies of the images among which neighbors are sought, and their features."""
        return self._read(self.bank_split, self.bank_images)

    @property
    def notes(self) -> list[str]:
        """Sentences on images that are other than in training, or not held out, and on what labels would add."""
        notes = EncodedData(self.encoder, self.data).notes
        if self.query_split == "train":
            hint = " (--data.val_fraction holds a part out.)" if hasattr(self.data, "val_fraction") else ""
            notes.append(
                "No images are held out, so pictures show images that the network has trained on; each is left out of "
                f"its own neighbors.{hint}"
            )
        if not any(self.data.images(split).labeled for split in {self.query_split, self.bank_split}):
            notes.append(LABELS_WOULD_SHOW)
        return [*notes, _SEVERAL] if self.data.multi_label else notes

    @property
    def look(self) -> dict[str, Any]:
        """How images are shown, as arguments of what draws a sheet."""
        return {"color_channels": self.data.color_channels, "stretch": self.data.value_range is not None}

    def itself(self, rows: Tensor) -> Tensor | None:
        """The place of each image of :attr:`queries` in :attr:`bank`, -1 where it is not there; None for other images.

        Args:
            rows: ``(Q,)`` positions in the queries.
        """
        of_queries, of_bank = (self.data.images(split) for split in (self.query_split, self.bank_split))
        queries, bank = self.queries[1].indices[rows].tolist(), self.bank[1].indices.tolist()
        paths = paths_of(of_queries), paths_of(of_bank)
        if of_queries is of_bank:
            place: dict[Any, int] = {row: number for number, row in enumerate(bank)}
            return torch.tensor([place.get(row, -1) for row in queries])
        if paths[0] is None or paths[1] is None:
            return None
        place = {os.path.abspath(paths[1][row]): number for number, row in enumerate(bank)}
        return torch.tensor([place.get(os.path.abspath(paths[0][row]), -1) for row in queries])

    def split(self, name: Split) -> EvaluationImages:
        """Images of a split as evaluation sees them, uint8 or uint16."""
        return cast(EvaluationImages, self._loader(name).dataset)

    def normalized(self, name: Split, rows: Tensor) -> DataLoader[Any]:
        """These images of a split, as the network takes them."""
        chosen = ChosenImages(self.split(name), rows, *EncodedData(self.encoder, self.data).normalization)
        return DataLoader(
            chosen,  # type: ignore[arg-type]
            batch_size=self.data.eval_batch_size,
            collate_fn=collate,
            **worker_settings(min(1, self._loader(name).num_workers)),
        )

    def _loader(self, name: Split) -> DataLoader[Any]:
        return self.data.evaluation_dataloader(name)

    def _read(self, name: Split, most: int) -> tuple[Tensor, Features]:
        split = self.split(name)
        loader = self.normalized(name, chosen_rows(len(split), most, self.seed))
        try:
            found = features_of(self.encoder, loader, name, cache=self.cache)
        except (AssertionError, RuntimeError) as error:  # transformers know the size of their images
            raise UsageError(_misfit(self, error)) from error
        if len(found.features) < FEWEST_IMAGES:
            raise UsageError(
                f"{type(self.data).__name__} has {len(found.features)} images: a picture takes {FEWEST_IMAGES}."
            )
        if found.targets.ndim == 2:
            found = found._replace(targets=torch.full((len(found.targets),), -1))
        return torch.cat([thumbnails(image[None]) for image in split.cut(found.indices.tolist())]), found


def _misfit(subject: Subject, error: Exception) -> str:
    size, given = subject.encoder.preprocessing.image_size, subject.data.image_size
    hint = f"give --data.image_size={size}" if size and size != given else "give another --data.image_size"
    return f"{subject.encoder.name} does not take images of {given} x {given} pixels ({first_line(error)}): {hint}."


def _neighbors(subject: Subject) -> "Figure":
    images, found = subject.queries
    bank_images, bank = subject.bank
    chosen = choose_queries(found.targets, subject.rows)
    return draw_neighbors(
        images[chosen],
        found.targets[chosen],
        bank_images,
        bank.targets,
        nearest_beside_pixels(
            subject.encoder.name,
            found.features[chosen],
            bank.features,
            _NEIGHBORS,
            query_pixels=raw_pixels(images[chosen]),
            bank_pixels=raw_pixels(bank_images),
            itself=subject.itself(chosen),
        ),
        class_names=subject.data.class_names,
        title=f"Nearest neighbors: {subject.title}",
        **subject.look,
    )


def _embedding(subject: Subject) -> "Figure":
    _, found = subject.queries
    planes = {str(how): project(found.features, how, seed=subject.seed) for how in available_projections()}
    title = f"Features of {len(found.features):,} images: {subject.title}"
    return draw_embedding(planes, found.targets, class_names=subject.data.class_names, title=title)


def _clusters(subject: Subject) -> "Figure":
    images, found = subject.queries
    return draw_clusters(
        images,
        found.features,
        found.targets,
        cluster_directions(found.features, cluster_count(found.targets), seed=subject.seed),
        class_names=subject.data.class_names,
        title=f"Spherical k-means clusters: {subject.title}",
        **subject.look,
    )


@torch.no_grad()
def _attention(subject: Subject) -> "Figure":
    split = subject.split(subject.query_split)
    rows = chosen_rows(len(split), subject.rows, subject.seed)
    batch, targets, indices = next(iter(subject.normalized(subject.query_split, rows)))
    try:
        maps = class_attention(subject.encoder.backbone, batch.to(subject.encoder.device))
    except UsageError:
        raise
    except (AssertionError, RuntimeError) as error:
        raise UsageError(_misfit(subject, error)) from error
    images = torch.stack(split.cut(indices.tolist()))
    names = subject.data.class_names
    named = names is not None and targets.ndim == 1
    labels = [names[label] if label >= 0 else "" for label in targets.tolist()] if named else None  # type: ignore[index]
    title = f"What {attending(subject.encoder.backbone)} attends to: {subject.title}"
    return draw_attention(images, maps, labels=labels, title=title, **subject.look)


def _augmentations(subject: Subject) -> "Figure":
    images: Any = subject.data.train_images_dataloader().dataset
    chosen = chosen_rows(len(images), subject.rows, subject.seed).tolist()
    others = (row for row in range(len(images)) if row not in chosen)  # for those that cannot be read
    shown = images.stored(chain(chosen, others), subject.rows)
    title = f"Augmentation of {subject.shown_data}"
    return draw_augmentations(
        shown,
        subject.data.views,
        seed=subject.seed,
        color=subject.data.color,
        color_channels=subject.data.color_channels,
        title=title,
    )


DRAW: dict[str, Callable[[Subject], "Figure"]] = {
    "neighbors": _neighbors,
    "embedding": _embedding,
    "clusters": _clusters,
    "attention": _attention,
    "augmentations": _augmentations,
}
"""Name of a picture -> what draws it."""
