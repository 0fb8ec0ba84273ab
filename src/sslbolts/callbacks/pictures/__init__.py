"""Pictures of a run, drawn while it trains: on any LightningModule, into its loggers and into PNG files."""

from sslbolts.callbacks.pictures.attention import AttentionMaps
from sslbolts.callbacks.pictures.augmentations import AugmentationSheet
from sslbolts.callbacks.pictures.clusters import ClusterSheet
from sslbolts.callbacks.pictures.embedding import EmbeddingPlot
from sslbolts.callbacks.pictures.neighbors import NeighborSheet
from sslbolts.callbacks.pictures.reconstructions import Reconstructions
from sslbolts.callbacks.pictures.words import NearestWords

__all__ = [
    "AttentionMaps",
    "AugmentationSheet",
    "ClusterSheet",
    "EmbeddingPlot",
    "NearestWords",
    "NeighborSheet",
    "Reconstructions",
]
