"""Features in the plane, drawn at validation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts._lightning import Trainer
from sslbolts.callbacks.pictures.shared.images import class_names_of
from sslbolts.callbacks.pictures.shared.queries import QueryPicture
from sslbolts.callbacks.shared.features import FeatureFunction
from sslbolts.pictures.embedding import draw_embedding
from sslbolts.pictures.projections import Projection, available_projections, project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EmbeddingPlot"]


class EmbeddingPlot(QueryPicture):
    """Draws the features of validation images as points: by PCA, and by UMAP or t-SNE where their package is there.

    Works on any module; features come from the validation pass itself. Weights and random states stay as they are.

    Args:
        features: None takes ``outputs["features"]`` where ``validation_step`` returns it, and else ``module(x)``; the
            name of a submodule takes its output; or a callable ``(module, batch, outputs) -> (B, D)``.
        targets: callable ``batch -> (B,)``; None knows ``(x, y, ...)`` and mappings, and does without labels.
        projections: of "pca", "tsne" (scikit-learn) and "umap" (umap-learn); None is PCA with UMAP, or else t-SNE,
            where they are installed.
        max_images: draw so many validation images, taken evenly from all; t-SNE of 1,000 takes some three seconds.
        class_names: None takes those of the DataModule.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/embedding-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> EmbeddingPlot(projections=["pca"], every_n_epochs=5).publisher.name
        'embedding'
    """

    def __init__(
        self,
        features: str | FeatureFunction | None = None,
        targets: Callable[[Any], Tensor] | None = None,
        *,
        projections: Sequence[Projection] | None = None,
        max_images: int = 1000,
        class_names: Sequence[str] | None = None,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        super().__init__(
            "embedding",
            features=features,
            targets=targets,
            max_images=max_images,
            class_names=class_names,
            every_n_epochs=every_n_epochs,
            folder=folder,
        )
        self.projections = projections

    def draw(
        self, trainer: Trainer, images: Tensor, features: Tensor, targets: Tensor, computed: Any
    ) -> "Figure | None":
        if len(features) < 4:
            return None
        chosen = self.projections
        if chosen is None:
            there = available_projections()
            chosen = ("pca", "umap") if "umap" in there else there
        title = f"Features of {len(features):,} images after {self.publisher.passed(trainer)} epochs{self.left_out}"
        planes: dict[str, Tensor] = {name: project(features, name) for name in chosen}
        return draw_embedding(
            planes, targets, class_names=class_names_of(trainer, self.class_names, targets), title=title
        )
