"""The templates of the pages. Every text is escaped where it is put in, unless it is markup of a template itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Cell", "Markup", "Section", "document", "render", "settings_table", "table"]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("sslbolts.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> Markup:
    """A template with its values, as markup for another one.

    Args:
        template: name of a file of ``templates/``, without its ending.
        **values: what it shows.

    Example:
        >>> render("notes", notes=["a < b"])
        Markup('<ul class="notes"><li>a &lt; b</li></ul>')
    """
    return Markup(_environment().get_template(f"{template}.html").render(**values).strip())


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than a text.

    Attributes:
        text: in it.
        notes: below the text.
        bold: whether it stands out.
        alarm: the last of the notes, as a warning.
    """

    text: str
    notes: Sequence[str] = ()
    bold: bool = False
    alarm: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page, with its place in the navigation.

    Attributes:
        key: its address on the page.
        title: above it.
        parts: markup, one after the other; None is left out, and without any there is no section.
        lead: a sentence below the title.
    """

    key: str
    title: str
    parts: Sequence[Markup | None] = ()
    lead: str = ""

    def __bool__(self) -> bool:
        return any(part is not None for part in self.parts)


def document(
    *, title: str, eyebrow: str, lead: str, above: Sequence[Markup | None], sections: Iterable[Section]
) -> str:
    """The whole page: nothing in it refers to anything outside.

    Args:
        title: heading.
        eyebrow: above the heading.
        lead: below it.
        above: what comes before the first section.
        sections: those without content are left out.

    Example:
        >>> section = Section("a", "A", [render("notes", notes=["text"])])
        >>> page = document(title="SimCLR", eyebrow="Run", lead="", above=[], sections=[section])
        >>> page.startswith("<!doctype html>")
        True
    """
    from sslbolts import __version__

    page = render(
        "document",
        title=title,
        eyebrow=eyebrow,
        lead=lead,
        above=[part for part in above if part is not None],
        sections=[section for section in sections if section],
        style=Markup((files("sslbolts.report") / "style.css").read_text(encoding="utf-8")),
        version=__version__,
    )
    return f"{page}\n"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    ours: Iterable[int] = (),
    numbers: int = 1,
    words: Sequence[str] = (),
) -> Markup:
    """A table whose first column names its rows.

    Args:
        columns: heads.
        rows: of as many cells.
        ours: places of the rows that stand out.
        numbers: the first column that is of numbers, and aligned right.
        words: heads of columns beyond it that are not.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    right = [place >= numbers and name not in words for place, name in enumerate(columns)]
    return render("table", columns=columns, rows=cells, ours=set(ours), right=right)


def settings_table(rows: Mapping[str, Any]) -> Markup | None:
    """Names and values below each other; dotted names may go on in the next line after a dot or an underscore."""
    return render("settings", rows={str(name): str(value) for name, value in rows.items()}) if rows else None
