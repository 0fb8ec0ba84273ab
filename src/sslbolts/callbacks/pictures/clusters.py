"""Clusters of the features, drawn at validation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.callbacks.pictures.shared.images import class_names_of, look_of
from sslbolts.callbacks.pictures.shared.queries import QueryPicture
from sslbolts.callbacks.shared.features import FeatureFunction
from sslbolts.checks import whole
from sslbolts.pictures.clusters import cluster_count, cluster_directions, draw_clusters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ClusterSheet"]


class ClusterSheet(QueryPicture):
    """Draws spherical k-means clusters of the validation images: their images, and how pure they are.

    Works on any module; features come from the validation pass itself. Weights and random states stay as they are.

    Args:
        features: None takes ``outputs["features"]`` where ``validation_step`` returns it, and else ``module(x)``; the
            name of a submodule takes its output; or a callable ``(module, batch, outputs) -> (B, D)``.
        targets: callable ``batch -> (B,)``; None knows ``(x, y, ...)`` and mappings, and does without labels.
        clusters: number of them; None is that of the classes, or 10 without labels, at most 20.
        max_images: cluster so many validation images, taken evenly from all.
        class_names: None takes those of the DataModule.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/clusters-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> ClusterSheet(clusters=5).publisher.name
        'clusters'
    """

    def __init__(
        self,
        features: str | FeatureFunction | None = None,
        targets: Callable[[Any], Tensor] | None = None,
        *,
        clusters: int | None = None,
        max_images: int = 1000,
        class_names: Sequence[str] | None = None,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        whole(clusters=clusters)
        super().__init__(
            "clusters",
            features=features,
            targets=targets,
            max_images=max_images,
            class_names=class_names,
            every_n_epochs=every_n_epochs,
            folder=folder,
        )
        self.clusters = clusters

    def compute(
        self, trainer: Trainer, pl_module: LightningModule, images: Tensor, features: Tensor, targets: Tensor
    ) -> Tensor:
        clusters = min(self.clusters or cluster_count(targets), len(features))
        # Collectives of an accelerator's process group take tensors on that device only.
        return cluster_directions(features.to(pl_module.device), clusters).cpu()

    def draw(
        self, trainer: Trainer, images: Tensor, features: Tensor, targets: Tensor, computed: Any
    ) -> "Figure | None":
        return draw_clusters(
            images,
            features,
            targets,
            computed,
            class_names=class_names_of(trainer, self.class_names, targets),
            title=f"Clusters (spherical k-means) after {self.publisher.passed(trainer)} epochs{self.left_out}",
            **look_of(trainer),
        )
