"""Titles of the results of evaluations, no two of a run alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from sslbolts.evaluation.result import Result, format_setting

__all__ = ["titles"]

_MOST_SETTINGS, _LONGEST = 3, 60


def titles(runs: Sequence[Sequence[Result]]) -> list[list[str]]:
    """Protocol and data of each result, and what tells those of equal names apart.

    That is, of several in a run, the settings in which they differ; and, of results on images of several folders, the
    folder.

    Args:
        runs: results of each run. What tells results of one run apart is named for the others, too.

    Returns:
        For each run, one title per result.

    Example:
        >>> one, ten = (Result("knn", "x/last.ckpt", "CIFAR10", {}, {"k": k}) for k in (1, 10))
        >>> titles([[one, ten], [one]])
        [['knn on CIFAR10 (k: 1)', 'knn on CIFAR10 (k: 10)'], ['knn on CIFAR10 (k: 1)']]
    """
    telling: dict[str, list[str]] = {}
    for results in runs:
        for name in {_plain(result) for result in results}:
            same = [_values(result) for result in results if _plain(result) == name]
            every = dict.fromkeys(key for values in same for key in values)
            differing = [key for key in every if len({values.get(key) for values in same}) > 1]
            if "data" in differing and "fingerprint" in differing:  # the folder says enough
                differing.remove("fingerprint")
            known = telling.setdefault(name, [])
            known += [key for key in differing[:_MOST_SETTINGS] if key not in known]
    for name in {_plain(result) for results in runs for result in results}:
        folders = {_values(result).get("data") for results in runs for result in results if _plain(result) == name}
        if len(folders) > 1 and "data" not in telling[name]:  # of several runs, numbers on other images are no rivals
            telling[name].insert(0, "data")
    return [_numbered([_title(result, telling[_plain(result)]) for result in results]) for results in runs]


def _plain(result: Result) -> str:
    return f"{result.protocol} on {result.data}"


def _values(result: Result) -> dict[str, str]:
    settings = {str(name): format_setting(value) for name, value in result.settings.items()}
    data = result.settings.get("data")
    if isinstance(data, Mapping):
        parts = {"data": data.get("folder"), "fingerprint": data.get("fingerprint")}
        settings = {name: str(part) for name, part in parts.items() if part} | {
            name: value for name, value in settings.items() if name != "data"
        }
    return {"of": PurePath(str(result.source)).name, **settings}


def _title(result: Result, telling: Sequence[str]) -> str:
    values = _values(result)
    words = [f"{key}: {_short(values[key], end=key == 'data')}" for key in telling if key in values]
    return f"{_plain(result)} ({'; '.join(words)})" if words else _plain(result)


def _short(text: str, *, end: bool) -> str:
    """The beginning of a long text; of folders the end, which tells them apart."""
    if len(text) <= _LONGEST:
        return text
    return f"…{text[1 - _LONGEST :]}" if end else f"{text[: _LONGEST - 1]}…"


def _numbered(names: list[str]) -> list[str]:
    """Equal names are told apart by a number."""
    count: Counter[str] = Counter()
    found = []
    for name in names:
        count[name] += 1
        found.append(name if count[name] == 1 else f"{name}, {count[name]}")
    return found
