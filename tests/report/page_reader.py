"""Reads a page with the standard library: its structure, its texts, and what it refers to."""

from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"br", "img", "link", "meta", "wbr"}


class Page(HTMLParser):
    """A page that is well formed, or an AssertionError."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute is given twice: {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    @property
    def text(self) -> str:
        return "\n".join(text for tag, text in self.texts if tag != "style")

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    def rows(self) -> list[list[str]]:
        """Cells of all rows of tables, in order."""
        rows: list[list[str]] = []
        for row in self.source.split("<tr")[1:]:
            cells = Cells()
            cells.feed("<tr" + row.partition("</tr>")[0])
            rows.append(cells.cells)
        return rows


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data
