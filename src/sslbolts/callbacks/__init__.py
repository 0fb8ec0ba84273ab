"""Callbacks that any LightningModule can use: evaluation while it trains, the teacher, and a look before the start."""

from sslbolts.callbacks.collapse import CollapseMonitor
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.callbacks.indicator import Indicator
from sslbolts.callbacks.knn import KNNMonitor
from sslbolts.callbacks.preflight import Preflight
from sslbolts.callbacks.probe import OnlineLinearProbe
from sslbolts.callbacks.schedules import WeightDecaySchedule

__all__ = [
    "CollapseMonitor",
    "EMATeacher",
    "Indicator",
    "KNNMonitor",
    "OnlineLinearProbe",
    "Preflight",
    "WeightDecaySchedule",
]
