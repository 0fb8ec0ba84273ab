"""The result of a protocol, with everything that its numbers depend on."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sslbolts.checks import read_regular, write_text
from sslbolts.errors import UsageError
from sslbolts.tables import TextTable

__all__ = ["Found", "Result", "format_metric", "format_setting", "free_path", "result_path"]

_SHARES = ("top1", "top5", "mean_per_class", "map", "map_11point", "map50", "map75", "purity", "per_class")
"""Last words of the names of metrics that are shares, printed in percent."""


def _environment() -> dict[str, str]:
    from sslbolts import __version__

    return {
        "sslbolts": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


class Found(NamedTuple):
    """The numbers of a classifier on features, before it is said whose features.

    Attributes:
        metrics: as in :class:`Result`.
        settings: what they depend on, besides the features.
        rows: as in :class:`Result`.
    """

    metrics: dict[str, float]
    settings: dict[str, Any]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """Numbers of one protocol on one representation and one data set.

    Attributes:
        protocol: "knn", "ridge", "linear", ...
        source: what was evaluated: a path, ``timm/NAME``, or the class of a module.
        data: name of the data set.
        metrics: shares in [0, 1] and other numbers; the first one is the result, the others stand beside it.
        settings: what they depend on: the data (folder, numbers of images, a digest), layer, preprocessing,
            hyper-parameters, and how these were chosen.
        rows: one mapping per candidate of a sweep, per layer or per data set, all with the same keys.
        notes: sentences that a reader of the numbers must know.
        environment: versions and machine.
        beside: texts that are written beside the JSON, by the endings of their files; not part of it.

    Example:
        >>> result = Result("knn", "runs/x.ckpt", "CIFAR10Mini", {"top1": 0.5}, {"layer": "backbone", "k": 20})
        >>> Result.from_json(result.to_json()) == result
        True
    """

    protocol: str
    source: str
    data: str
    metrics: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=_environment)
    beside: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> str:
        """As JSON that :meth:`from_json` reads."""
        stated = {name: value for name, value in asdict(self).items() if name != "beside"}
        text = json.dumps(stated, indent=2, ensure_ascii=False, default=_plain) + "\n"
        return text.encode("utf-8", "backslashreplace").decode()  # names of files may hold bytes that are no text

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """The result that :meth:`to_json` wrote.

        Raises:
            UsageError: if the text is something else.
        """
        try:
            return cls(**{**json.loads(text), "beside": {}})
        except (TypeError, ValueError) as error:
            raise UsageError(f"this is no result of an evaluation: {error}.") from error

    def save(self, path: str | Path) -> Path:
        """Write the JSON, and the texts beside it; the folder is made.

        Raises:
            UsageError: names the file that cannot be written. What was there before stays.
        """
        write_text(path, self.to_json())
        for ending, text in self.beside.items():
            write_text(Path(path).with_suffix(ending), text)
        return Path(path)

    def table(self) -> TextTable:
        """For ``rich.console.Console().print``: the metrics, then what they depend on."""
        rows = [[name, format_metric(name, value)] for name, value in self.metrics.items()]
        rows += [[str(name), format_setting(value)] for name, value in self.settings.items()]
        rows += [["note", note] for note in self.notes]
        return TextTable(["metric", "value"], rows, title=f"{self.protocol}: {self.source} on {self.data}")

    def rows_table(self, title: str = "") -> TextTable | None:
        """The candidates, layers or data sets beside each other; None where there are none."""
        if not self.rows:
            return None
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        rows = [[format_metric(name, row[name]) if name in row else "" for name in names] for row in self.rows]
        numbers = [p for p, name in enumerate(names) if isinstance(self.rows[0].get(name), int | float)]
        return TextTable(names, rows, title=title, numbers=numbers)


def result_path(source: str, protocol: str, data: str, *, features: str = "backbone", settings: str = "") -> Path:
    """The default file of a result: beside the checkpoint, where the report page looks.

    Args:
        source: as in :class:`Result`.
        protocol: as in :class:`Result`.
        data: as in :class:`Result`.
        features: which features: :attr:`sslbolts.evaluation.encoder.Encoder.feature_name`.
        settings: name of the protocol's settings, where there are several.

    Example:
        >>> print(result_path("runs/a/last.ckpt", "knn", "CIFAR10Mini", features="projector of the teacher"))
        runs/a/evaluation/knn-CIFAR10Mini-projector-of-the-teacher-last.json
        >>> print(result_path("timm/resnet18.a1_in1k", "linear", "CIFAR10Mini", settings="moco"))
        runs/timm-resnet18.a1_in1k/evaluation/linear-CIFAR10Mini-moco.json
    """
    named = source.startswith(
        ("timm/", "torchvision/", "sslbolts/", "hf:/")
    )  # whose tags look like the endings of files
    file = Path(source) if not named and (Path(source).suffix or Path(source).is_file()) else None
    folder = Path("runs") / _plain_word(source) if file is None else file.parent
    words = [protocol, data, "" if features == "backbone" else features, settings, "" if file is None else file.stem]
    return folder / "evaluation" / f"{'-'.join(_plain_word(word) for word in words if word)}.json"


def free_path(result: Result, path: Path) -> Path:
    """The path; or, where the result of another source or of other settings is kept there, one beside it.

    Args:
        result: to be saved.
        path: where it would go, ending in ``.json``.
    """
    if not os.path.exists(path):  # also where nobody may look
        return path
    new = Result.from_json(result.to_json())
    try:
        kept: Result | None = Result.from_json(read_regular(path).decode())
    except (UsageError, OSError, UnicodeDecodeError):
        kept = None
    depends = [new.protocol, new.source, new.data, new.settings]
    if kept is not None and [kept.protocol, kept.source, kept.data, kept.settings] == depends:
        return path
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:8]
    return path.with_name(f"{path.stem}-{digest}.json")


def format_metric(name: str, value: Any) -> str:
    """Shares in percent, other numbers with four digits.

    Example:
        >>> format_metric("training top1", 0.4567), format_metric("rankme", 31.26), format_metric("k", 20)
        ('45.67 %', '31.26', '20')
    """
    if isinstance(value, float) and name.rpartition("/")[2].split()[-1] in _SHARES:
        return f"{100 * value:.2f} %"
    return f"{value:.4g}" if isinstance(value, float) else format_setting(value)


def format_setting(value: Any) -> str:
    """A setting on one line.

    Example:
        >>> format_setting({"k": [5, 20], "metric": "cosine"})
        'k: 5, 20; metric: cosine'
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {format_setting(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(format_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain_word(text: str) -> str:
    """For the name of a file or folder."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-")


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)
