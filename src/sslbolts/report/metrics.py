"""The numbers that a run has logged, from its CSV file or its TensorBoard events."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sslbolts.report.plain_files import read_inside, refuse_link_out

__all__ = ["Gap", "Log", "Point", "Series", "read_log"]

_MOST = 1e15  # epochs and steps: more are none
_LARGEST_TABLE, _LARGEST_EVENTS = 2**27, 2**30  # bytes


class Point(NamedTuple):
    """A logged value.

    Attributes:
        epoch: when, in epochs passed, with their fraction.
        value: the number; never NaN or infinite.
    """

    epoch: float
    value: float


Series = list[Point]


class Gap(NamedTuple):
    """Logged values that are no finite numbers, as of a run that has diverged.

    Attributes:
        kind: "NaN" or "infinite": the first of them.
        first: the epoch of the first.
        last: the epoch of the last.
        values: how many.
        lasting: whether no finite value came after the first.
    """

    kind: str
    first: float
    last: float
    values: int
    lasting: bool

    def __str__(self) -> str:
        if self.lasting:
            return f"{self.kind} from epoch {self.first:.4g} on"
        return f"{self.kind} at epoch {self.first:.4g}" + (f" and {self.values - 1:,} times more" * (self.values > 1))


class Log(NamedTuple):
    """Everything that a run has logged.

    Attributes:
        metrics: finite values by name, in order of time.
        gaps: where else there are values, by name.
    """

    metrics: dict[str, Series]
    gaps: dict[str, Gap]


def read_log(folder: str | Path) -> Log:
    """Everything that was logged, by name, in order of time; empty where nothing was.

    Read are ``metrics.csv`` (of Lightning's CSVLogger) and, where there is none and the ``tensorboard`` package is
    installed, event files.

    Args:
        folder: of the run.

    Raises:
        OSError: if a file is a link out of the folder, is no regular one or is too large.
        ValueError: if ``metrics.csv`` is no table.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.csv").write_text("epoch,step,loss\\n0,0,5.0\\n0,1,4.0\\n1,2,3.5\\n1,3,3.0\\n")
        >>> read_log(folder).metrics["loss"][-1]
        Point(epoch=2.0, value=3.0)
    """
    folder = Path(folder)
    table = folder / "metrics.csv"
    if table.exists():
        return _log(_of_csv(read_inside(folder, table, _LARGEST_TABLE).decode(errors="replace")))
    if any(folder.glob("events.out.tfevents.*")):
        return _log(_of_events(folder))
    return Log({}, {})


def _log(rows: Iterable[tuple[int, float | None, dict[str, float]]]) -> Log:
    rows = [row for row in rows if 0 <= row[0] < _MOST and (row[1] is None or 0 <= row[1] < _MOST)]
    length = _steps_per_epoch((step, epoch) for step, epoch, _ in rows if epoch is not None)
    found: dict[str, Series] = {}
    for step, _, values in rows:
        for name, value in values.items():
            found.setdefault(name, []).append(Point((step + 1) / length, value))
    log = Log({}, {})
    for name, series in sorted(found.items()):
        series.sort(key=lambda point: point.epoch)
        finite = [point for point in series if math.isfinite(point.value)]
        lost = [point for point in series if not math.isfinite(point.value)]
        if finite:
            log.metrics[name] = finite
        if lost:
            kind = "NaN" if math.isnan(lost[0].value) else "infinite"
            lasting = not finite or finite[-1].epoch < lost[0].epoch
            log.gaps[name] = Gap(kind, lost[0].epoch, lost[-1].epoch, len(lost), lasting)
    return log


def _steps_per_epoch(rows: Iterable[tuple[int, float]]) -> float:
    """Steps of an epoch: `e + 1` times as many end with epoch `e`; the last may not have been logged."""
    return max(((step + 1) / (int(epoch) + 1) for step, epoch in rows), default=1.0)


def _of_csv(table: str) -> Iterable[tuple[int, float | None, dict[str, float]]]:
    rows = csv.DictReader(io.StringIO(table, newline=""))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(str(error)) from error
        values = {name: number for name, text in row.items() if name and (number := _number(text)) is not None}
        step, epoch = values.pop("step", math.nan), values.pop("epoch", None)
        if math.isfinite(step):
            yield int(step), epoch, values


def _of_events(folder: Path) -> Iterable[tuple[int, float | None, dict[str, float]]]:
    try:
        from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]
    except ImportError:
        return
    for path in folder.glob("*tfevents*"):  # which it is about to read, whatever they are
        refuse_link_out(folder, path)
        if not path.is_file() or path.stat().st_size > _LARGEST_EVENTS:
            raise OSError(f"{path.name} is no regular file of at most {_LARGEST_EVENTS // 2**20:,} MB")
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
        return float(text)
    except (TypeError, ValueError):
        return None
