"""The logged numbers by kind: accuracies with their baselines, losses, and others."""

import math
import re
from dataclasses import dataclass

from sslbolts.report.metrics import Gap, Series
from sslbolts.report.run import Run

__all__ = ["BASELINES", "Accuracy", "accuracies", "losses", "others", "percent", "quotients", "title_of"]

BASELINES = {"raw_pixels": "raw pixels", "untrained": "untrained network"}
"""Last word of the name of a baseline in the log -> the same in words."""

_ACCURACY = re.compile(r"(^|[/_])(top1|acc|accuracy|map|k\d+_t[\d.]+)$", re.IGNORECASE)
_TESTING = re.compile(r"(^|[/_])train[/_]|^test/")
_QUOTIENT = re.compile(r"_(of|over)_", re.IGNORECASE)
_STAGES = {"train": "in training", "val": "in validation", "test": "in testing"}
_TITLES = {
    "train/loss": "Training loss",
    "val/loss": "Validation loss",
    "train/loss_of_chance": "Loss as a multiple of that of guessing",
    "train/loss_over_guessing": "Loss as a multiple of that of guessing",
    "train/loss_of_mean": "Loss as a multiple of that of the mean",
    "train/error_of_mean": "Error as a multiple of that of the mean",
    "train/accuracy_over_chance": "Accuracy as a multiple of that of guessing",
    "collapse/std": "Deviation of the features",
    "collapse/effective_rank": "Effective rank of the features",
    "rankme": "RankMe: dimensions of the features",
    "class_separation": "Separation of the classes, R²",
}


@dataclass(frozen=True)
class Accuracy:
    """An accuracy over the run.

    Attributes:
        metric: its name in the log.
        label: in words.
        series: shares in [0, 1].
        baselines: in words -> share.
        gap: values that are not finite.
    """

    metric: str
    label: str
    series: Series
    baselines: dict[str, float]
    gap: Gap | None = None

    @property
    def last(self) -> float:
        """The value at the end; NaN where it is not finite."""
        return math.nan if self.gap is not None and self.gap.lasting else self.series[-1].value

    @property
    def best(self) -> tuple[float, float]:
        """The highest value, and the epoch at which it was reached first."""
        point = max(self.series, key=lambda point: point.value)
        return point.value, point.epoch


def accuracies(run: Run) -> list[Accuracy]:
    """Accuracies on validation images: of nearest neighbors, ridge, probes, and whatever is named an accuracy.

    Mean average precisions of images of several classes are among them.
    """
    found = []
    for metric, series in run.metrics.items():
        if not _ACCURACY.search(metric) or _TESTING.search(metric):
            continue
        if not all(0 <= point.value <= 1 for point in series):
            continue
        known = {
            label: run.metrics[f"{metric}/{suffix}"][-1].value
            for suffix, label in BASELINES.items()
            if f"{metric}/{suffix}" in run.metrics
        }
        found.append(Accuracy(metric, _label(metric), series, known, run.gaps.get(metric)))
    return sorted(found, key=lambda accuracy: _order(accuracy.metric))


def losses(run: Run) -> dict[str, Series]:
    """Everything that is named a loss, but for quotients of losses, which have an axis of their own."""
    return {name: series for name, series in _losses(run).items() if not _QUOTIENT.search(name)}


def quotients(run: Run) -> dict[str, Series]:
    """Losses as multiples of another one, such as that of guessing."""
    return {name: series for name, series in _losses(run).items() if _QUOTIENT.search(name)}


def others(run: Run) -> dict[str, Series]:
    """Everything else that was logged more than once: no loss, no accuracy, no baseline."""
    taken = {*_losses(run), *(accuracy.metric for accuracy in accuracies(run))}
    return {
        name: series
        for name, series in run.metrics.items()
        if name not in taken and name.rpartition("/")[2] not in BASELINES and len(series) > 1
    }


def percent(value: float) -> str:
    """A share in percent, or NaN.

    Example:
        >>> percent(0.4567), percent(math.nan)
        ('45.7', 'NaN')
    """
    return "NaN" if math.isnan(value) else f"{100 * value:.1f}"


def title_of(metric: str) -> str:
    """A logged name in words.

    Example:
        >>> title_of("train/loss_of_chance"), title_of("lr-SGD/pg1")
        ('Loss as a multiple of that of guessing', 'Learning rate, SGD/pg1')
        >>> title_of("train/teacher_entropy"), title_of("mine/size")
        ('Teacher entropy, in training', 'Size, mine')
    """
    if metric in _TITLES:
        return _TITLES[metric]
    if rate := re.fullmatch(r"lr-(.+)", metric):
        return f"Learning rate, {rate[1]}"
    stage, _, name = metric.rpartition("/")
    words = (name or metric).replace("_", " ")
    known = f"{words[:1].upper()}{words[1:]}" or metric
    return f"{known}, {_STAGES.get(stage, stage)}" if stage else known


def _losses(run: Run) -> dict[str, Series]:
    return {name: series for name, series in run.metrics.items() if "loss" in name.lower() and len(series) > 1}


def _label(metric: str) -> str:
    neighbors = re.search(r"^(.*?)knn/k(\d+)_t([\d.]+)(/map)?$", metric)
    if neighbors:
        before, k, temperature, several = neighbors.groups()
        heat = "" if temperature == "0.07" else f", temperature {temperature}"
        return f"{before}{k} nearest neighbors{heat}{', mAP' if several else ''}"
    known = {"ridge/top1": "Ridge, closed form", "probe/top1": "Online linear probe"}
    known |= {"ridge/map": "Ridge, closed form, mAP", "probe/map": "Online linear probe, mAP"}
    return known.get(metric, metric)


def _order(metric: str) -> tuple[int, int, str]:
    first = next((place for place, name in enumerate(("knn/", "ridge/", "probe/")) if name in metric), 9)
    number = re.search(r"k(\d+)_", metric)
    return first, int(number.group(1)) if number else 0, metric
