"""The page that compares several runs."""

import math
from collections.abc import Sequence

from sslbolts.evaluation.diagnosis.lines import metric_in_words
from sslbolts.evaluation.result import format_metric
from sslbolts.report.charts import Chart, draw_charts
from sslbolts.report.evaluations import place_of
from sslbolts.report.layout import Cell, Section, document, render, table
from sslbolts.report.logged import Accuracy, accuracies, losses, percent, title_of
from sslbolts.report.page import alert, last_values
from sslbolts.report.pictures import pictures
from sslbolts.report.results import titles
from sslbolts.report.run import Run
from sslbolts.report.verdict import verdict

__all__ = ["comparison_page", "distinct_names"]


def comparison_page(runs: Sequence[Run]) -> str:
    """Several runs beside each other, on one self-contained HTML page.

    Args:
        runs: what :func:`sslbolts.report.run.read_run` found, two or more.

    Example:
        >>> from pathlib import Path
        >>> a, b = (Run(Path(f"runs/{name}"), record={"model": name}) for name in ("SimCLR", "BYOL"))
        >>> "<h1>2 runs</h1>" in comparison_page([a, b])
        True
    """
    names = distinct_names(runs)
    found = [accuracies(run) for run in runs]
    return document(
        title=f"{len(runs)} runs",
        eyebrow="Comparison",
        lead=", ".join(names) + ".",
        above=[alert([f"{name}: {words}" for name, run in zip(names, runs) for words in run.diverged])],
        sections=[
            _verdicts(runs, names),
            _results(runs, names, found),
            _curves(runs, names, found),
            _evaluations(runs, names),
            _differences(runs, names),
            _pictures(runs, names),
            _reproduce(runs, names),
            _notes(runs, names),
        ],
    )


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The folders' names; with as much of the path as tells them apart.

    Example:
        >>> from pathlib import Path
        >>> distinct_names([Run(Path("a/x")), Run(Path("b/x")), Run(Path("b/y"))])
        ['a/x', 'b/x', 'b/y']
    """
    parts = [run.folder.resolve().parts for run in runs]
    shortest = max(len(run.name.split("/")) for run in runs)
    for length in range(shortest, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def _verdicts(runs: Sequence[Run], names: Sequence[str]) -> Section:
    """One line for each run: whether it has learned anything, by its last numbers."""
    rows: list[list[str | Cell]] = []
    for run, name in zip(runs, names):
        last = last_values(run)
        if last:
            found = verdict(last, run.model)
            rows.append([name, " ".join(filter(None, [found.line, found.advice]))])
    if not rows:
        return Section("verdicts", "Have they learned anything?")
    return Section("verdicts", "Have they learned anything?", [table(["run", "by its last numbers"], rows, numbers=2)])


def _results(runs: Sequence[Run], names: Sequence[str], found: Sequence[list[Accuracy]]) -> Section:
    labels = list(dict.fromkeys(accuracy.label for of_run in found for accuracy in of_run))
    if not labels:
        return Section("results", "Results")
    baselines: dict[tuple[str, str], set[str]] = {}
    for of_run in found:
        for accuracy in of_run:
            for name, value in accuracy.baselines.items():
                baselines.setdefault((name, accuracy.label), set()).add(percent(value))
    rows: list[list[str | Cell]] = []
    for name in dict.fromkeys(name for name, _ in baselines):
        cells = [", ".join(sorted(baselines.get((name, label), set()))) for label in labels]
        rows.append([name, "", *cells])
    best: dict[str, float] = {}
    for of_run in found:
        for accuracy in of_run:
            if not math.isnan(accuracy.last):
                best[accuracy.label] = max(best.get(accuracy.label, 0.0), accuracy.last)
    for run, name, of_run in zip(runs, names, found):
        values = {accuracy.label: accuracy.last for accuracy in of_run}
        shares = [_cell(values.get(label), best.get(label)) for label in labels]
        shown = Cell(name, [run.model], alarm="diverged" if run.diverged else "")
        rows.append([shown, f"{run.epochs:.4g}" if run.epochs else "", *shares])
    return Section(
        "results",
        "Results",
        [table(["run", "epochs", *labels], rows)],
        lead="Accuracy on the validation images at the end, in %; the highest of a column in bold. "
        "Baselines that differ from run to run have all their values.",
    )


def _cell(value: float | None, best: float | None) -> str | Cell:
    return "" if value is None else Cell(percent(value), bold=value == best)


def _curves(runs: Sequence[Run], names: Sequence[str], found: Sequence[list[Accuracy]]) -> Section:
    charts: list[Chart] = []
    for metric in dict.fromkeys(metric for run in runs for metric in losses(run)):
        series = {name: losses(run).get(metric, []) for name, run in zip(names, runs)}
        several = len({run.model for run in runs}) > 1
        detail = f"{metric}; losses of different methods cannot be compared" if several else metric
        gaps = {name: run.gaps[metric] for name, run in zip(names, runs) if metric in run.gaps}
        charts.append(Chart(title_of(metric), series, detail=detail, gaps=gaps))
    for label in dict.fromkeys(accuracy.label for of_run in found for accuracy in of_run):
        of_label = {
            name: accuracy for name, of_run in zip(names, found) for accuracy in of_run if accuracy.label == label
        }
        # The network differs from run to run; the pixels do not, if the images are the same.
        pixels = {r.baselines["raw pixels"] for r in of_label.values() if "raw pixels" in r.baselines}
        baselines = {"raw pixels": pixels.pop()} if len(pixels) == 1 else {}
        series = {name: of_label[name].series if name in of_label else [] for name in names}
        gaps = {name: accuracy.gap for name, accuracy in of_label.items() if accuracy.gap}
        detail = "validation accuracy in %"
        charts.append(Chart(label, series, baselines, percent=True, detail=detail, gaps=gaps))
    return Section(
        "curves",
        "Curves",
        [draw_charts(charts)],
        lead="Over epochs. Point at a curve for its values, or unfold them.",
    )


def _evaluations(runs: Sequence[Run], names: Sequence[str]) -> Section:
    found: dict[tuple[int, str, str], dict[str, str]] = {}
    for run, name, titled in zip(runs, names, titles([run.results for run in runs])):
        for result, title in zip(run.results, titled):
            for metric, value in result.metrics.items():
                words = metric_in_words(metric) if result.protocol == "diagnose" else metric
                found.setdefault((place_of(result), title, words), {})[name] = format_metric(metric, value)
    rows = [
        [f"{title}: {words}", *(found[place, title, words].get(name, "") for name in names)]
        for place, title, words in sorted(found, key=lambda key: key[0])
    ]
    return Section(
        "evaluation",
        "Evaluations",
        [table(["protocol", *names], rows) if rows else None],
        lead="Numbers are comparable where their settings are equal: each run's own report has them.",
    )


def _differences(runs: Sequence[Run], names: Sequence[str]) -> Section:
    configs = [run.flat_config for run in runs]
    # A run without config.yaml has only its model's arguments: what others have besides is no difference.
    parts = set.intersection(*(set(run.config) for run in runs))
    keys = [key for key in dict.fromkeys(k for config in configs for k in config) if key.partition(".")[0] in parts]
    differing = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    rows = [[key, *(config.get(key, "unset") for config in configs)] for key in differing]
    if not any(configs):
        return Section("configuration", "Differences of configuration")
    columns = ["setting", *names]
    shown = table(columns, rows, numbers=len(columns)) if rows else render("paragraph", text="None.")
    return Section(
        "configuration",
        "Differences of configuration",
        [shown],
        lead=f"{len(differing)} of {len(keys)} settings differ."
        + ("" if len(parts) > 1 else " Compared is what all runs have recorded: the model's arguments."),
    )


def _pictures(runs: Sequence[Run], names: Sequence[str]) -> Section:
    parts = []
    for run, name in zip(runs, names):
        sheets = pictures(run, share=len(runs))
        if sheets:
            parts.append(render("details", summary=f"{name}: {len(run.pictures)} pictures", parts=sheets))
    return Section("pictures", "Pictures", parts)


def _reproduce(runs: Sequence[Run], names: Sequence[str]) -> Section:
    parts = []
    for run, name in zip(runs, names):
        if command := run.record.get("command"):
            parts += [render("heading", text=name), render("code", text=str(command), command=True)]
    return Section("reproduce", "Reproduce", parts)


def _notes(runs: Sequence[Run], names: Sequence[str]) -> Section:
    notes = [f"{name}: {note}" for run, name in zip(runs, names) for note in run.notes]
    return Section("notes", "Notes", [render("notes", notes=notes)] if notes else [])
