"""Callbacks for any LightningModule: evaluation and pictures while it trains, the teacher, a check of the run."""

from sslbolts.callbacks.collapse import CollapseMonitor
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.callbacks.knn import KNNMonitor
from sslbolts.callbacks.nan_guard import NanGuard
from sslbolts.callbacks.pictures import (
    AttentionMaps,
    AugmentationSheet,
    ClusterSheet,
    EmbeddingPlot,
    NearestWords,
    NeighborSheet,
    Reconstructions,
)
from sslbolts.callbacks.preflight import Preflight
from sslbolts.callbacks.probe import OnlineLinearProbe
from sslbolts.callbacks.record import RunRecord
from sslbolts.callbacks.schedules import TeacherTemperatureSchedule, WeightDecaySchedule
from sslbolts.callbacks.signals import SaveOnSignal
from sslbolts.callbacks.view_agreement import ViewAgreement
from sslbolts.callbacks.whitened_stem import WhitenedStem
from sslbolts.health import Indicator

__all__ = [
    "AttentionMaps",
    "AugmentationSheet",
    "ClusterSheet",
    "CollapseMonitor",
    "EMATeacher",
    "EmbeddingPlot",
    "Indicator",
    "KNNMonitor",
    "NanGuard",
    "NearestWords",
    "NeighborSheet",
    "OnlineLinearProbe",
    "Preflight",
    "Reconstructions",
    "RunRecord",
    "SaveOnSignal",
    "TeacherTemperatureSchedule",
    "ViewAgreement",
    "WeightDecaySchedule",
    "WhitenedStem",
]

NeighbourSheet = NeighborSheet  # its name in 0.1.0
