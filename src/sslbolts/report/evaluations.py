"""The results of evaluations on a run's page."""

from collections.abc import Sequence

from sslbolts.evaluation.diagnosis.lines import distortion_lines, geometry_lines
from sslbolts.evaluation.result import Result, format_metric, format_setting
from sslbolts.report.layout import Markup, render, settings_table, table
from sslbolts.report.results import titles

__all__ = ["evaluations", "place_of"]

_MOST_ROWS = 60  # of the candidates of a sweep
_ORDER = ("knn", "ridge", "linear", "mlp", "maps", "layers", "svm", "finetune")
_LAST = "diagnose"


def evaluations(results: Sequence[Result]) -> list[Markup]:
    """Each result with its protocol: the numbers, what they depend on, and the candidates of a sweep.

    Nearest neighbors and linear classifiers come first, the diagnosis last.
    """
    parts = []
    results = sorted(results, key=place_of)
    for result, title in zip(results, titles([results])[0]):
        parts.append(render("heading", text=title))
        numbers = settings_table({name: format_metric(name, value) for name, value in result.metrics.items()})
        depends = settings_table({name: format_setting(value) for name, value in result.settings.items()})
        diagnosis = _diagnosis(result)
        shown = [None, depends] if diagnosis else [numbers, depends]
        parts += diagnosis
        if any(shown):
            parts.append(render("columns", columns=[{"title": "", "content": part} for part in shown]))
        if result.notes:
            parts.append(render("notes", notes=list(map(str, result.notes))))
        if diagnosis and numbers:
            parts.append(render("details", summary=f"All {len(result.metrics)} numbers", parts=[numbers]))
        elif result.rows:
            names = list(dict.fromkeys(name for row in result.rows for name in row))
            rows = [[format_metric(n, row[n]) if n in row else "" for n in names] for row in result.rows[:_MOST_ROWS]]
            more = f" (the first {_MOST_ROWS})" if len(result.rows) > _MOST_ROWS else ""
            summary = f"All {len(result.rows)} rows{more}" if len(result.rows) > 1 else "One row"
            parts.append(render("details", summary=summary, parts=[table(list(map(str, names)), rows)]))
    return parts


def place_of(result: Result) -> int:
    """The place of a result among others: nearest neighbors and linear classifiers first, the diagnosis last."""
    names = [*_ORDER, "", _LAST]
    return names.index(result.protocol if result.protocol in names else "")


def _diagnosis(result: Result) -> list[Markup]:
    """The tables of a diagnosis, features beside embeddings; none of another result."""
    if result.protocol != _LAST:
        return []
    tables = (geometry_lines(result), distortion_lines(result))
    return [table(columns, rows, words=["better is"]) for columns, rows in tables if rows]
