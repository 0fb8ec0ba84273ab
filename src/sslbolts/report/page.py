"""The page of one run."""

import math
import shlex
from datetime import timedelta
from typing import Any

from sslbolts.report.charts import Chart, draw_chart
from sslbolts.report.logged import accuracies, losses, others
from sslbolts.report.markup import Markup, join, tag
from sslbolts.report.run import Run
from sslbolts.report.sections import (
    Section,
    alert,
    document,
    evaluations,
    grid_of,
    percent,
    pictures,
    settings_table,
    table,
)

__all__ = ["dump_config", "run_page"]


def run_page(run: Run) -> str:
    """One run as a self-contained HTML page: everything in it is escaped, and nothing refers to the outside.

    Args:
        run: what :func:`sslbolts.report.run.read_run` found.

    Example:
        >>> from pathlib import Path
        >>> "<h1>SimCLR</h1>" in run_page(Run(Path("runs/a"), record={"model": "SimCLR"}))
        True
    """
    title = f"{run.model} on {run.data}" if run.data else run.model
    return document(
        title=title[0].upper() + title[1:],
        eyebrow=f"Run {run.name}",
        lead=_lead(run),
        tiles=join(alert(run.diverged), _tiles(run)),
        sections=[
            _curves(run),
            _results(run),
            Section(
                "evaluation", "Evaluations", *evaluations(run.results), lead="What was measured on the checkpoint."
            ),
            Section("pictures", "Pictures", *pictures(run)),
            _configuration(run),
            _environment(run),
            _reproduce(run),
            Section(
                "notes", "Notes", tag("ul", *(tag("li", n) for n in run.notes), class_="notes") if run.notes else None
            ),
        ],
    )


def _lead(run: Run) -> str:
    record = run.record
    facts = []
    if run.epochs:
        facts.append(
            f"{run.epochs:.4g} epochs" + (f", {record['steps']:,} steps" if _is_number(record, "steps") else "")
        )
    if _is_number(record, "seconds"):
        facts.append(f"trained in {_duration(record['seconds'])}")
    if record.get("devices"):
        facts.append(f"on {record['devices']}")
    if record.get("started"):
        facts.append(f"started {str(record['started']).replace('T', ' ').replace('+00:00', ' UTC')}")
    facts = facts or ["what its folder holds"]
    return ", ".join([facts[0][0].upper() + facts[0][1:], *facts[1:]]) + "."


def _tiles(run: Run) -> Markup | None:
    tiles = []
    for accuracy in accuracies(run)[:4]:
        lines = [
            tag("div", _beside(accuracy.last - v, name), class_="versus") for name, v in accuracy.baselines.items()
        ]
        if math.isnan(accuracy.last):
            lines = [tag("div", str(accuracy.gap), class_="versus")]
        value = tag("div", *_share(accuracy.last), class_="value")
        tiles.append(tag("div", tag("div", accuracy.label, class_="name"), value, *lines, class_="tile"))
    return tag("div", *tiles, class_="tiles") if tiles else None


def _share(value: float) -> list[Any]:
    return ["NaN"] if math.isnan(value) else [f"{100 * value:.1f}", tag("small", " %")]


def _beside(gain: float, name: str) -> str:
    return f"{abs(100 * gain):.1f} points {'above' if gain >= 0 else 'below'} {name}"


def _curves(run: Run) -> Section:
    charts = []
    found = losses(run)
    if found:
        most = max(len(series) for series in found.values())
        detail = f"mean of every {-(-most // 120)} logged values" if most > 120 else ""
        charts.append(draw_chart(Chart("Loss", found, detail=detail, gaps=run.gaps)))
    for accuracy in accuracies(run):
        charts.append(
            draw_chart(
                Chart(
                    accuracy.label,
                    {run.model: accuracy.series},
                    accuracy.baselines,
                    percent=True,
                    detail=f"validation accuracy in %, {accuracy.metric}",
                    gaps={run.model: accuracy.gap} if accuracy.gap else {},
                )
            )
        )
    more = [draw_chart(Chart(name, {name: series}, gaps=run.gaps)) for name, series in others(run).items()]
    return Section(
        "curves",
        "Curves",
        tag("div", *charts, class_=grid_of(charts)) if charts else None,
        tag("details", tag("summary", f"{len(more)} more curves"), tag("div", *more, class_="charts"))
        if more
        else None,
        lead="Over epochs. Point at a curve for its values, or unfold them; dashed lines are what must be beaten.",
    )


def _results(run: Run) -> Section:
    found = accuracies(run)
    if not found:
        return Section("results", "Results")
    rows: list[list[Any]] = []
    for name in ("raw pixels", "untrained network"):
        if any(name in accuracy.baselines for accuracy in found):
            values = [accuracy.baselines.get(name) for accuracy in found]
            rows.append([name, *("" if value is None else f"{100 * value:.1f}" for value in values)])
    rows.append([f"{run.model}, at the end", *(percent(accuracy.last) for accuracy in found)])
    best: list[Any] = [f"{run.model}, best of all epochs"]
    for accuracy in found:
        value, epoch = accuracy.best
        best.append(Markup(f"{100 * value:.1f}{tag('span', f'epoch {epoch:.4g}', class_='when')}"))
    rows.append(best)
    return Section(
        "results",
        "Results",
        table(["features", *(accuracy.label for accuracy in found)], rows, ours=[len(rows) - 2]),
        lead="Accuracy on the validation images in %. The best epoch is chosen by these images: its number flatters.",
    )


def _configuration(run: Run) -> Section:
    flat = run.flat_config
    groups = {
        "Model": {name.removeprefix("model."): text for name, text in flat.items() if name.startswith("model")},
        "Data": {name.removeprefix("data."): text for name, text in flat.items() if name.startswith("data")},
        "Training": {
            name.removeprefix("trainer."): text for name, text in flat.items() if not name.startswith(("model", "data"))
        },
    }
    shown = [tag("div", tag("h3", name), settings_table(rows)) for name, rows in groups.items() if rows]
    whole = tag("details", tag("summary", "The whole configuration as YAML"), tag("pre", dump_config(run)))
    return Section(
        "configuration",
        "Configuration",
        tag("div", *shown, class_="columns") if shown else None,
        whole if flat else None,
        lead="What is unset is left out." if flat else None,
    )


def dump_config(run: Run) -> str:
    """The configuration as YAML."""
    import yaml  # type: ignore[import-untyped]

    text: str = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
    return text


def _environment(run: Run) -> Section:
    record = run.record
    machine = {**_mapping(record, "machine"), "devices": record.get("devices"), "precision": record.get("precision")}
    commits = {f"commit of {name}": text for name, text in _mapping(record, "commits").items()}
    tables = [
        settings_table({k: v for k, v in rows.items() if v})
        for rows in (machine | commits, _mapping(record, "versions"))
    ]
    return Section("environment", "Environment", tag("div", *tables, class_="columns") if any(tables) else None)


def _reproduce(run: Run) -> Section:
    command = run.record.get("command")
    parts: list[Any] = []
    if command:
        parts.append(tag("pre", str(command), class_="command"))
    earlier = run.record.get("earlier_commands")
    if isinstance(earlier, list) and earlier:
        parts.append(tag("p", "The run was resumed. It began with"))
        parts += [tag("pre", str(line), class_="command") for line in earlier]
    if (run.folder / "config.yaml").is_file():
        if command:
            parts.append(tag("p", "Or from the recorded configuration, without the files that the command names:"))
        again = shlex.join(["sslbolts", "fit", "--config", str(run.folder / "config.yaml")])
        parts.append(tag("pre", again, class_="command"))
    where = run.record.get("working_directory")
    made = f"The command that made this run, in {where}." if where else "The command that made this run."
    lead = made if command else "The run has not recorded its command."
    return Section("reproduce", "Reproduce", *parts, lead=lead)


def _mapping(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _is_number(record: dict[str, Any], name: str) -> bool:
    value = record.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12  # NaN is not


def _duration(seconds: float) -> str:
    """In words.

    Example:
        >>> _duration(189.4)
        '3 min 9 s'
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return str(timedelta(minutes=minutes)).removesuffix(":00") + " h"
