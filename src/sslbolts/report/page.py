"""The page of one run."""

import math
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sslbolts.report.charts import MOST_POINTS, Chart, draw_charts
from sslbolts.report.evaluations import evaluations
from sslbolts.report.layout import Cell, Markup, Section, document, render, settings_table, table
from sslbolts.report.logged import BASELINES, accuracies, losses, others, percent, quotients, title_of
from sslbolts.report.pictures import pictures
from sslbolts.report.run import Run
from sslbolts.report.verdict import LABELS_WOULD_SAY, verdict

__all__ = ["alert", "dump_config", "run_page"]


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
        above=[alert(run.diverged), _verdict(run), _tiles(run)],
        sections=[
            _curves(run),
            _results(run),
            Section("evaluation", "Evaluations", evaluations(run.results), lead="What was measured on the checkpoint."),
            Section("pictures", "Pictures", pictures(run)),
            _configuration(run),
            _environment(run),
            _reproduce(run),
            Section("notes", "Notes", [render("notes", notes=run.notes)] if run.notes else []),
        ],
    )


def alert(diverged: Sequence[str]) -> Markup | None:
    """A warning above all numbers, if losses have diverged."""
    return render("alert", title="Diverged.", text=f"{'; '.join(diverged)}.") if diverged else None


def _verdict(run: Run) -> Markup | None:
    """Whether the run has learned anything, by its last numbers, and what to do if not."""
    last = last_values(run)
    if not last:
        return None
    found = verdict(last, run.model)
    words = [found.line, found.advice, "" if found.labels else LABELS_WOULD_SAY]
    return render("verdict", title="Has it learned anything?", text=" ".join(filter(None, words)))


def last_values(run: Run) -> dict[str, float]:
    """The last value of each metric, NaN where it is not finite from some time on."""
    last = {name: series[-1].value for name, series in run.metrics.items()}
    return last | {name: math.nan for name, gap in run.gaps.items() if gap.lasting}


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
        lost = math.isnan(accuracy.last)
        lines = [_beside(accuracy.last - level, name) for name, level in accuracy.baselines.items()]
        tiles.append(
            {
                "name": accuracy.label,
                "value": percent(accuracy.last),
                "unit": "" if lost else "%",
                "lines": [str(accuracy.gap)] if lost else lines,
            }
        )
    return render("tiles", tiles=tiles) if tiles else None


def _beside(gain: float, name: str) -> str:
    return f"{abs(100 * gain):.1f} points {'above' if gain >= 0 else 'below'} {name}"


def _curves(run: Run) -> Section:
    charts = []
    found = losses(run)
    if found:
        most = max(len(series) for series in found.values())
        detail = f"mean of every {-(-most // MOST_POINTS)} logged values" if most > MOST_POINTS else ""
        charts.append(Chart("Loss", found, detail=detail, gaps=run.gaps))
    for accuracy in accuracies(run):
        charts.append(
            Chart(
                accuracy.label,
                {run.model: accuracy.series},
                accuracy.baselines,
                percent=True,
                detail=f"validation accuracy in %, {accuracy.metric}",
                gaps={run.model: accuracy.gap} if accuracy.gap else {},
            )
        )
    more = [
        Chart(title_of(name), {name: series}, gaps=run.gaps) for name, series in (quotients(run) | others(run)).items()
    ]
    unfolded = draw_charts(more)
    return Section(
        "curves",
        "Curves",
        [
            draw_charts(charts),
            None if unfolded is None else render("details", summary=f"{len(more)} more curves", parts=[unfolded]),
        ],
        lead="Over epochs. Point at a curve for its values, or unfold them; dashed lines are what must be beaten.",
    )


def _results(run: Run) -> Section:
    found = accuracies(run)
    if not found:
        return Section("results", "Results")
    rows: list[list[str | Cell]] = []
    for name in BASELINES.values():
        if any(name in accuracy.baselines for accuracy in found):
            values = [accuracy.baselines.get(name) for accuracy in found]
            rows.append([name, *("" if value is None else percent(value) for value in values)])
    rows.append([f"{run.model}, at the end", *(percent(accuracy.last) for accuracy in found)])
    best: list[str | Cell] = [f"{run.model}, best of all epochs"]
    for accuracy in found:
        value, epoch = accuracy.best
        best.append(Cell(percent(value), [f"epoch {epoch:.4g}"]))
    rows.append(best)
    return Section(
        "results",
        "Results",
        [table(["features", *(accuracy.label for accuracy in found)], rows, ours=[len(rows) - 2])],
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
    columns = [{"title": name, "content": settings_table(rows)} for name, rows in groups.items() if rows]
    whole = [render("code", text=dump_config(run), command=False)] if flat else []
    recorded = "" if run.configured else " Data, views and Trainer are as the run had them; there was no configuration."
    return Section(
        "configuration",
        "Configuration",
        [
            render("columns", columns=columns) if columns else None,
            render("details", summary="The whole configuration as YAML", parts=whole) if flat else None,
        ],
        lead=f"What is unset is left out.{recorded}" if flat else "",
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
    columns = [{"title": "", "content": content} for content in tables if content]
    return Section("environment", "Environment", [render("columns", columns=columns)] if columns else [])


def _reproduce(run: Run) -> Section:
    command = run.record.get("command")
    parts: list[Markup | None] = []
    if command:
        parts.append(_command(str(command)))
    earlier = run.record.get("earlier_commands")
    if isinstance(earlier, list) and earlier:
        parts.append(render("paragraph", text="The run was resumed. It began with"))
        parts += [_command(str(line)) for line in earlier]
    if (run.folder / "config.yaml").is_file():
        if command:
            words = "Or from the recorded configuration, without the files that the command names:"
            parts.append(render("paragraph", text=words))
        parts.append(_command(shlex.join(["sslbolts", "fit", "--config", str(run.folder / "config.yaml")])))
    where = run.record.get("working_directory")
    made = f"The command that made this run, in {where}." if where else "The command that made this run."
    lead = made if command else "The run has not recorded its command."
    return Section("reproduce", "Reproduce", parts, lead=lead)


def _command(text: str) -> Markup:
    return render("code", text=text, command=True)


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
