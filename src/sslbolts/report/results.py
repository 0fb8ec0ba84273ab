"""Titles of the results of evaluations, no two of a run alike."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from sslbolts.evaluation.result import Result, format_setting

__all__ = ["titles"]

_MOST_SETTINGS, _LONGEST = 3, 60


def titles(runs: Sequence[Sequence[Result]]) -> list[list[str]]:
    """Protocol and data of each result; where a run has several of these, also in what they differ.

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
            known = telling.setdefault(name, [])
            known += [key for key in differing[:_MOST_SETTINGS] if key not in known]
    return [_numbered([_title(result, telling[_plain(result)]) for result in results]) for results in runs]


def _plain(result: Result) -> str:
    return f"{result.protocol} on {result.data}"


def _values(result: Result) -> dict[str, str]:
    settings = {str(name): format_setting(value) for name, value in result.settings.items()}
    return {"of": PurePath(str(result.source)).name, **settings}


def _title(result: Result, telling: Sequence[str]) -> str:
    values = _values(result)
    words = [f"{key}: {_short(values[key])}" for key in telling if key in values]
    return f"{_plain(result)} ({'; '.join(words)})" if words else _plain(result)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _numbered(names: list[str]) -> list[str]:
    """Equal names are told apart by a number."""
    count: Counter[str] = Counter()
    found = []
    for name in names:
        count[name] += 1
        found.append(name if count[name] == 1 else f"{name}, {count[name]}")
    return found
