"""A run, as its folder tells it."""

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sslbolts.callbacks.shared.redaction import redact, redact_command
from sslbolts.errors import UsageError, did_you_mean, first_line
from sslbolts.evaluation.result import Result, format_metric
from sslbolts.report.metrics import Gap, Log, Series, read_log
from sslbolts.report.plain_files import load_json, load_yaml, refuse_link_out

__all__ = ["LARGEST_PICTURE", "Picture", "Run", "read_run"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
LARGEST_PICTURE = 12 * 2**20  # bytes


@dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Attributes:
        name: what it shows: its file's name without the epoch.
        path: the file.
        epoch: after which it was drawn; None where the name does not say it.
    """

    name: str
    path: Path
    epoch: int | None = None


@dataclass(frozen=True)
class Run:
    """The contents of a run's folder.

    Attributes:
        folder: of the run.
        metrics: finite numbers that were logged, by name.
        gaps: numbers that were logged and are not finite, by name.
        configured: whether the configuration is the one that the command line has written; else it is what the run has
            recorded of itself.
        config: the configuration, plain types, without passwords and keys.
        record: what :class:`~sslbolts.callbacks.RunRecord` wrote.
        results: of evaluations.
        pictures: in order of their names and epochs.
        notes: what could not be read.
    """

    folder: Path
    metrics: dict[str, Series] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gaps: dict[str, Gap] = field(default_factory=dict)
    configured: bool = True

    @property
    def name(self) -> str:
        """The folder's name; of a ``version_3`` with its parent's."""
        folder = self.folder.resolve()
        return f"{folder.parent.name}/{folder.name}" if folder.name.startswith("version_") else folder.name

    @property
    def model(self) -> str:
        """Name of the method."""
        return str(self.record.get("model") or _class_name(self.config.get("model")) or "a model")

    @property
    def data(self) -> str | None:
        """Name of the data set, where it is known."""
        name = self.record.get("data") or _class_name(self.config.get("data"))
        return str(name).removesuffix("DataModule") if name else None

    @cached_property
    def epochs(self) -> float:
        """Epochs passed."""
        ends = [series[-1].epoch for series in self.metrics.values()] + [gap.last for gap in self.gaps.values()]
        return max(ends, default=0.0)

    @property
    def diverged(self) -> list[str]:
        """Losses that ended in NaN or infinity, in words."""
        return [f"{name} is {gap}" for name, gap in self.gaps.items() if gap.lasting and "loss" in name.lower()]

    @cached_property
    def flat_config(self) -> dict[str, str]:
        """The configuration as dotted names and texts, without what is unset."""
        return dict(_flat(self.config))


def read_run(folder: str | Path) -> Run:
    """Read a run's folder: whatever of metrics, configuration, record, evaluations and pictures there is.

    Args:
        folder: where ``metrics.csv`` (or TensorBoard events) and ``config.yaml`` are.

    Raises:
        UsageError: if there is no such folder, or nothing of a run in it.

    Example:
        >>> read_run("no/such/folder")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: there is no folder no/such/folder: give the folder of a run...
    """
    folder = Path(folder)
    if not folder.is_dir():
        parent = folder.parent
        there = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
        raise UsageError(
            f"there is no folder {folder}: give the folder of a run, where metrics.csv or TensorBoard's events are."
            f"{did_you_mean(folder.name, there)}"
        )
    notes: list[str] = []
    log = _log(folder, notes)
    config, configured = _config(folder, notes)
    record = _record(folder, notes)
    recorded = record.get("settings")
    if not configured and isinstance(recorded, dict):  # of a run from Python
        config = config | {name: part for name, part in recorded.items() if name in ("data", "trainer")}
        seed = record.get("seed")
        config |= {} if seed is None else {"seed_everything": seed}
    run = Run(
        folder=folder,
        metrics=log.metrics,
        gaps=log.gaps,
        config=config,
        record=record,
        configured=configured,
        results=_results(folder, notes),
        pictures=_pictures(folder, notes),
        notes=notes,
    )
    if not (run.metrics or run.gaps or run.config or run.results or run.pictures):
        nested = (path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/metrics.csv"))
        inner = sorted({str(path.parent) for path in nested})[:5]
        hint = f" There are runs in {', '.join(inner)}." if inner else ""
        raise UsageError(
            f"nothing in {folder} is of a run: no metrics.csv, TensorBoard events, config.yaml, evaluation or picture."
            f"{hint}"
        )
    return run


def _log(folder: Path, notes: list[str]) -> Log:
    try:
        log = read_log(folder)
    except (OSError, ValueError) as error:
        notes.append(f"what was logged cannot be read: {error}")
        return Log({}, {})
    notes += [f"{name}: {gap.values:,} values are not finite ({gap})." for name, gap in log.gaps.items()]
    return log


def _config(folder: Path, notes: list[str]) -> tuple[dict[str, Any], bool]:
    """``config.yaml``, which the command line writes, and True; else the hyperparameters, which Lightning does."""
    for name in ("config.yaml", "hparams.yaml"):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = load_yaml(folder, path)
        except (OSError, ValueError) as error:
            notes.append(f"{name} cannot be read: {first_line(error)}")
            continue
        if isinstance(found, dict) and found:
            cleaned: dict[str, Any] = redact(found)
            return (cleaned, True) if name == "config.yaml" else ({"model": {"init_args": cleaned}}, False)
    return {}, False


def _record(folder: Path, notes: list[str]) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.exists():
        return {}
    try:
        found = load_json(folder, path)
    except (OSError, ValueError) as error:
        notes.append(f"run.json cannot be read: {error}")
        return {}
    if not isinstance(found, dict):
        return {}
    cleaned: dict[str, Any] = redact(found)
    if isinstance(command := found.get("command"), str):
        cleaned["command"] = redact_command(command)
    if isinstance(earlier := found.get("earlier_commands"), list):
        cleaned["earlier_commands"] = [redact_command(str(line)) for line in earlier]
    return cleaned


def _results(folder: Path, notes: list[str]) -> list[Result]:
    results = []
    for path in sorted({*folder.glob("evaluation/*.json"), *folder.glob("checkpoints/evaluation/*.json")}):
        try:
            result = Result.from_json(json.dumps(load_json(folder, path)))
            _check(result)
        except (OSError, ValueError, TypeError, AttributeError, IndexError):
            notes.append(f"{path.relative_to(folder)} is no result of an evaluation.")
        else:
            results.append(_without_secrets(result))
    return results


def _without_secrets(result: Result) -> Result:
    """The numbers are as they were, whatever their names."""
    shown = {name: redact(getattr(result, name)) for name in ("source", "settings", "rows", "notes", "environment")}
    return replace(result, **shown)


def _check(result: Result) -> None:
    """Refuse what has the names of a result and not its types."""
    if not all(isinstance(value, dict) for value in (result.metrics, result.settings, result.environment)):
        raise TypeError("a mapping is needed")
    if not all(isinstance(value, list) for value in (result.rows, result.notes)):
        raise TypeError("a list is needed")
    if not all(isinstance(row, dict) for row in result.rows):
        raise TypeError("a mapping is needed")
    for numbers in (result.metrics, *result.rows):
        for name, value in numbers.items():
            format_metric(name, value)


def _pictures(folder: Path, notes: list[str]) -> list[Picture]:
    found = []
    for place in ("", "pictures", "evaluation", "checkpoints/pictures", "checkpoints/evaluation"):
        stage = "checkpoint-" if place == "checkpoints/pictures" else ""  # of `sslbolts pictures`, after training
        for path in sorted((folder / place).glob("*")):
            if path.suffix.lower() not in _PICTURES or not path.is_file():
                continue
            try:
                refuse_link_out(folder, path)
            except OSError as error:
                notes.append(f"{path.relative_to(folder)} is left out: {error}.")
                continue
            if path.stat().st_size > LARGEST_PICTURE:
                notes.append(f"{path.relative_to(folder)} is left out: it has over {LARGEST_PICTURE // 2**20} MB.")
                continue
            name, _, epoch = path.stem.rpartition("-epoch")
            known = bool(name) and epoch.isdigit()
            found.append(Picture(stage + (name if known else path.stem), path, int(epoch) if known else None))
    return found


def _class_name(part: Any) -> str | None:
    path = part.get("class_path") if isinstance(part, dict) else None
    return str(path).rpartition(".")[2] if path else None


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        rows = []
        for key, item in value.items():
            # The arguments of a class stand directly below it, as on the command line.
            inner = name if key in ("init_args", "class_path") and name else f"{name}.{key}".lstrip(".")
            rows += _flat(item, inner)
        return rows
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        rows = []
        for place, item in enumerate(value):
            own = _class_name(item) if isinstance(item, dict) else None
            rows += _flat(item, f"{name}.{own or place}")
        return rows
    if value is None or value == [] or value == "":
        return []
    return [(name, ", ".join(map(_text, value)) if isinstance(value, list) else _text(value))]


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
