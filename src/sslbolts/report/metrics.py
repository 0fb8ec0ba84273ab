"""The numbers that a run has logged, from its CSV file or its TensorBoard events."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Point", "Series", "read_metrics"]


class Point(NamedTuple):
    """A logged value.

    Attributes:
        epoch: when, in epochs passed, with their fraction.
        value: the number; never NaN or infinite.
    """

    epoch: float
    value: float


Series = list[Point]


def read_metrics(folder: str | Path) -> dict[str, Series]:
    """Everything that was logged, by name, in order of time; empty where nothing was.

    Read are ``metrics.csv`` (of Lightning's CSVLogger) and, where there is none and the ``tensorboard`` package is
    installed, event files.

    Args:
        folder: of the run.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.csv").write_text("epoch,step,loss\\n0,0,5.0\\n0,1,4.0\\n1,2,3.5\\n1,3,3.0\\n")
        >>> read_metrics(folder)["loss"][-1]
        Point(epoch=2.0, value=3.0)
    """
    folder = Path(folder)
    table = folder / "metrics.csv"
    if table.is_file():
        return _series(_of_csv(table))
    if any(folder.glob("events.out.tfevents.*")):
        return _series(_of_events(folder))
    return {}


def _series(rows: Iterable[tuple[int, float | None, dict[str, float]]]) -> dict[str, Series]:
    rows = list(rows)
    length = _steps_per_epoch((step, epoch) for step, epoch, _ in rows if epoch is not None)
    found: dict[str, Series] = {}
    for step, _, values in rows:
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, []).append(Point((step + 1) / length, value))
    return {name: sorted(series, key=lambda point: point.epoch) for name, series in sorted(found.items())}


def _steps_per_epoch(rows: Iterable[tuple[int, float]]) -> float:
    """Steps of an epoch: `e + 1` times as many end with epoch `e`, of which the last may not have been logged."""
    return max(((step + 1) / (int(epoch) + 1) for step, epoch in rows), default=1.0)


def _of_csv(table: Path) -> Iterable[tuple[int, float | None, dict[str, float]]]:
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            values = {name: number for name, text in row.items() if (number := _number(text)) is not None}
            step, epoch = values.pop("step", None), values.pop("epoch", None)
            if step is not None:
                yield int(step), epoch, values


def _of_events(folder: Path) -> Iterable[tuple[int, float | None, dict[str, float]]]:
    try:
        from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]
    except ImportError:
        return
    events: Any = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    events.Reload()
    names = events.Tags()["scalars"]
    epochs = {event.step: event.value for event in events.Scalars("epoch")} if "epoch" in names else {}
    for name in names:
        if name not in ("epoch", "hp_metric"):
            for event in events.Scalars(name):
                yield event.step, epochs.get(event.step), {name: event.value}


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
