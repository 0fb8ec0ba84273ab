"""The parts of a report that a page of one run and a comparison of several have in common."""

import base64
import math
import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby, zip_longest
from typing import Any

from sslbolts.checks import read_regular
from sslbolts.data.decode import opened
from sslbolts.evaluation.result import Result, format_metric, format_setting
from sslbolts.report.markup import Markup, join, tag
from sslbolts.report.results import titles
from sslbolts.report.run import LARGEST_PICTURE, Picture, Run

__all__ = [
    "Section",
    "alert",
    "document",
    "evaluations",
    "grid_of",
    "name_of_picture",
    "percent",
    "pictures",
    "settings_table",
    "table",
]

_TITLES = {
    "neighbors": "Nearest neighbors",
    "embedding": "Features in two dimensions",
    "clusters": "Clusters",
    "attention": "Attention",
    "augmentations": "Augmentation",
    "curves": "Curves, as the run drew them",
    "reconstructions": "Reconstructions",
    "nearest_words": "Nearest words",
}
_MOST_ROWS = 60  # of the candidates of a sweep
_MOST_EARLIER = 5  # pictures of a kind besides the last
_MOST_BYTES = 32 * 2**20  # of all pictures; base64 adds a third


class Section:
    """A part of the page, with its place in the navigation.

    Args:
        key: its address on the page.
        title: above it.
        children: elements.
        lead: a sentence below the title.
    """

    def __init__(self, key: str, title: str, *children: Any, lead: str | None = None) -> None:
        self.key = key
        self.title = title
        self.children = children
        self.lead = lead

    def __bool__(self) -> bool:
        return any(child is not None for child in self.children)

    def markup(self) -> Markup:
        """The section as an element."""
        lead = tag("p", self.lead) if self.lead else None
        return tag("section", tag("h2", self.title), lead, *self.children, id=self.key)


def document(*, title: str, eyebrow: str, lead: str, tiles: Markup | None, sections: Iterable[Section]) -> str:
    """The whole page: nothing in it refers to anything outside.

    Example:
        >>> page = document(title="SimCLR", eyebrow="Run", lead="", tiles=None, sections=[Section("a", "A", "text")])
        >>> page.startswith("<!doctype html>")
        True
    """
    from sslbolts import __version__

    shown = [section for section in sections if section]
    style = Markup((files("sslbolts.report") / "style.css").read_text(encoding="utf-8"))
    links = [tag("li", tag("a", section.title, href=f"#{section.key}")) for section in shown]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )
    body = tag(
        "body",
        tag(
            "header", tag("p", eyebrow, class_="eyebrow"), tag("h1", title), tag("p", lead, class_="lead"), class_="top"
        ),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("main", tiles, *(section.markup() for section in shown)),
        tag("footer", f"Written by sslbolts {__version__}."),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, ours: Iterable[int] = (), numbers: int = 1
) -> Markup:
    """A table whose first column names its rows.

    Args:
        columns: heads.
        rows: of as many cells.
        ours: places of the rows that stand out.
        numbers: the first column that is of numbers, and aligned right.
    """
    marked = set(ours)
    head = tag(
        "tr", *(tag("th", c, scope="col", class_="number" if p >= numbers else None) for p, c in enumerate(columns))
    )
    body = [
        tag(
            "tr",
            *(
                tag(
                    "td" if place else "th",
                    cell,
                    scope=None if place else "row",
                    class_="number" if place >= numbers else None,
                )
                for place, cell in enumerate(row)
            ),
            class_="ours" if number in marked else None,
        )
        for number, row in enumerate(rows)
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), class_="wide"), class_="scroll")


def settings_table(rows: Mapping[str, Any]) -> Markup | None:
    """Names and values below each other."""
    if not rows:
        return None
    body = [tag("tr", tag("th", _breakable(name), scope="row"), tag("td", str(value))) for name, value in rows.items()]
    return tag("table", tag("tbody", *body), class_="settings")


def _breakable(name: str) -> Markup:
    """A dotted name that may go on in the next line after a dot or an underscore."""
    return join(*(part if part not in "._" else join(part, tag("wbr")) for part in re.split(r"([._])", name) if part))


def evaluations(results: Sequence[Result]) -> list[Markup]:
    """Each result with its protocol: the numbers, what they depend on, and the candidates of a sweep."""
    parts = []
    for result, title in zip(results, titles([results])[0]):
        parts.append(tag("h3", title))
        numbers = {name: format_metric(name, value) for name, value in result.metrics.items()}
        depends = {name: format_setting(value) for name, value in result.settings.items()}
        parts.append(tag("div", settings_table(numbers), settings_table(depends), class_="columns"))
        if result.notes:
            parts.append(tag("ul", *(tag("li", str(note)) for note in result.notes), class_="notes"))
        if result.rows:
            names = list(dict.fromkeys(name for row in result.rows for name in row))
            rows = [[format_metric(n, row[n]) if n in row else "" for n in names] for row in result.rows[:_MOST_ROWS]]
            more = f" (the first {_MOST_ROWS})" if len(result.rows) > _MOST_ROWS else ""
            parts.append(tag("details", tag("summary", f"All {len(result.rows)} rows{more}"), table(names, rows)))
    return parts


def pictures(run: Run, *, share: int = 1) -> list[Markup]:
    """The pictures of a run, each embedded; of one drawn at several epochs the last, and some others to unfold.

    Args:
        run: whose pictures.
        share: of so many runs on the page, which has room for 32 MB of pictures.
    """
    order = list(_TITLES)
    known = sorted(run.pictures, key=lambda p: (order.index(p.name) if p.name in order else len(order), p.name))
    groups = [
        sorted(group, key=lambda picture: math.inf if picture.epoch is None else picture.epoch)
        for _, group in groupby(known, key=lambda picture: picture.name)
    ]
    # The last of each kind come first, then the earlier ones of each in turn.
    wanted = [versions[-1] for versions in groups]
    turns = zip_longest(*(_spread(versions[:-1]) for versions in groups))
    wanted += [picture for turn in turns for picture in turn if picture is not None]
    room, kept = _MOST_BYTES // share, set()
    for picture in wanted:
        size = picture.path.stat().st_size
        if size <= room:
            room -= size
            kept.add(picture)
    parts = []
    for versions in groups:
        name = name_of_picture(versions[0].name)
        if versions[-1] in kept:
            parts.append(_sheet(versions[-1]))
        earlier = [_sheet(picture) for picture in versions[:-1] if picture in kept]
        if earlier:
            some = "" if len(earlier) == len(versions) - 1 else f", {len(earlier)} of {len(versions) - 1}"
            parts.append(tag("details", tag("summary", f"{name}: earlier epochs{some}"), *earlier))
    if left := len(run.pictures) - len(kept):
        parts.append(
            tag("p", f"{left:,} of {len(run.pictures):,} pictures are left out here; the run's folder has all.")
        )
    return parts


def _spread(versions: Sequence[Picture]) -> list[Picture]:
    """The first, and others at equal distances."""
    if len(versions) <= _MOST_EARLIER:
        return list(versions)
    return [versions[place * len(versions) // _MOST_EARLIER] for place in range(_MOST_EARLIER)]


def alert(diverged: Sequence[str]) -> Markup | None:
    """A warning above all numbers, if losses have diverged."""
    if not diverged:
        return None
    return tag("p", tag("strong", "Diverged."), f" {'; '.join(diverged)}.", class_="alert", role="note")


def percent(value: float) -> str:
    """A share in percent, or NaN.

    Example:
        >>> percent(0.4567), percent(math.nan)
        ('45.7', 'NaN')
    """
    return "NaN" if math.isnan(value) else f"{100 * value:.1f}"


def grid_of(charts: Sequence[Markup]) -> str:
    """Class of a grid for so many charts: two or four fill two columns, others three."""
    return "charts two" if len(charts) in (1, 2, 4) else "charts"


def name_of_picture(name: str) -> str:
    """In words.

    Example:
        >>> name_of_picture("neighbors"), name_of_picture("diagnose-CIFAR10Mini")
        ('Nearest neighbors', 'Diagnose-CIFAR10Mini')
    """
    if digest := re.fullmatch(r"(.+)-([0-9a-f]{8})", name):  # one of several data sets or settings
        return f"{name_of_picture(digest[1])} ({digest[2]})"
    stage, _, rest = name.partition("-")
    if rest in _TITLES:  # drawn by Trainer.validate or Trainer.test
        return f"{_TITLES[rest]}, {stage}"
    return _TITLES.get(name) or name[:1].upper() + name[1:].replace("_", " ")


def _sheet(picture: Picture) -> Markup:
    kind = mimetypes.guess_type(picture.path.name)[0] or "image/png"
    try:
        content = read_regular(picture.path, LARGEST_PICTURE)
    except OSError as error:
        return tag("p", f"{picture.path.name} cannot be read: {error}.")
    data = base64.b64encode(content).decode()
    size = _size(content)
    after = None if picture.epoch is None else tag("span", f"epoch {picture.epoch}")
    caption = tag("figcaption", name_of_picture(picture.name), after)
    image = tag(
        "img",
        src=f"data:{kind};base64,{data}",
        alt=f"{name_of_picture(picture.name)} ({picture.path.name})",
        width=size[0],
        height=size[1],
        class_="large" if size[0] and size[0] > 900 else None,
    )
    return tag("figure", caption, tag("div", image, class_="paper"), class_="sheet")


def _size(content: bytes) -> tuple[int | None, int | None]:
    """Width and height as the page shows it: pictures are drawn at 130 dots per inch, for sharp screens."""
    try:
        with opened(content) as picture:
            return tuple(round(side * 96 / 130) for side in picture.size)  # type: ignore[return-value]
    except (OSError, ValueError, SyntaxError):
        return None, None
