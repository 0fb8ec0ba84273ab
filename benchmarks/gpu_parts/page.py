"""Page and picture of what has been measured."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gpu_parts.cifar10 import KNN
from gpu_parts.plan import Entry, Ledger, Part
from sslbolts.checks import write_text
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure, save, tidy

TRIAL = "**A trial of the script with tiny networks: its figures say nothing of any hardware.**\n\n"


def write(parts: Sequence[Part], ledger: Ledger, file: Path, *, small: bool) -> None:
    """``FILE.md``, and ``FILE.png`` if there are curves.

    Args:
        parts: sections, in order.
        ledger: what has been measured.
        file: without its ending.
        small: whether it was a trial.
    """
    curves = {e.item: e.row["curve"] for e in ledger.entries.values() if e.row.get("curve")}
    if curves:
        _draw(curves, file.with_suffix(".png"))
    kinds = _kinds(parts, ledger)
    sections = [_section(part, ledger, kinds) for part in parts]
    picture = f"![kNN accuracy after every epoch]({file.name}.png)\n\n" if curves else ""
    how = "\n".join(f"{number}. {text}" for text, number in kinds.items())
    head = "# Measured on a GPU" if not small else "# Trial"
    intro = 'Numbers in the column "run" stand at the end: commit, hardware, versions, date and command.\n\n'
    text = f"{head}\n\n{TRIAL if small else ''}{intro}" + "\n".join(sections) + f"\n{picture}## Runs\n\n{how}\n"
    write_text(file.with_suffix(".md"), text)


def _section(part: Part, ledger: Ledger, kinds: dict[str, int]) -> str:
    entries = [ledger.entries[part.name, item] for item in part.items if (part.name, item) in ledger.entries]
    lines = [f"## {part.name[0].upper()}{part.name[1:]}", "", part.question, ""]
    rows = [entry for entry in entries if entry.row]
    if rows:
        columns = list(dict.fromkeys(name for entry in rows for name, value in entry.row.items() if _is_cell(value)))
        lines += _table(
            ["", *columns, "run"],
            ([entry.item, *(_said(entry.row.get(c)) for c in columns), str(kinds[_kind(entry)])] for entry in rows),
        )
    lines += [f"- {e.item} failed: `{e.why}` (run {kinds[_kind(e)]})" for e in entries if e.state == "failed"]
    if missing := [item for item in part.items if ledger.state(part.name, item) != "finished"]:
        names = ", ".join(missing) if len(missing) < len(part.items) else "all of it"
        lines += ["", f"Not measured yet, or not to its end, with the code of the newest run: {names}."]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(row)} |" for row in (columns, marks, *rows)] + [""]


def _is_cell(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value).replace("|", r"\|")


def _kind(entry: Entry) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in entry.identity["versions"].items())
    where = (
        f"commit {entry.identity['commit']} (code {entry.identity['code']}); {entry.identity['hardware']}; {versions}"
    )
    return f"{entry.date[:10]}: `{entry.command}`; {where}"


def _kinds(parts: Sequence[Part], ledger: Ledger) -> dict[str, int]:
    """Numbers of the different ways in which something was measured, in the order of the page."""
    found = [ledger.entries.get((part.name, item)) for part in parts for item in part.items]
    return {kind: i for i, kind in enumerate(dict.fromkeys(_kind(entry) for entry in found if entry), 1)}


def _draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    for color, (name, rows) in zip(COLORS, curves.items()):
        points = [(row["epoch"], 100 * row[KNN]) for row in rows if KNN in row]
        axes.plot(*zip(*points), color=color, label=name)
    for row in next(iter(curves.values()))[:1]:
        for kind, style in (("untrained", "--"), ("raw_pixels", ":")):
            if f"{KNN}/{kind}" in row:
                label = kind.replace("_", " ")
                axes.axhline(100 * row[f"{KNN}/{kind}"], color=MUTED, linestyle=style, label=label)
    tidy(axes, title="kNN while training", xlabel="epoch", ylabel=f"{KNN} on the test images (%)")
    axes.legend(frameon=False, labelcolor=INK)
    save(figure, path)
