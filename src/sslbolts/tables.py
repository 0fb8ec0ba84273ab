"""Tables for a terminal of any width, of which nothing is lost."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["TextTable"]

_GAP = 2  # columns of the terminal between two of the table


@dataclass(frozen=True)
class TextTable:
    """A table for ``rich.console.Console().print``: cells go on in the next line between words, and never within one.

    Where the terminal is narrower than the longest words of the columns, each row becomes a list of names and values.
    Texts are shown as they are, without markup.

    Args:
        columns: heads; those of "" have none.
        rows: of as many cells; a row of one cell heads the rows below it.
        title: above the table.
        numbers: places of the columns that are aligned right, and stay on one line.
        bold: places of the columns that stand out.
        header: whether the heads are shown.

    Example:
        >>> from rich.console import Console
        >>> table = TextTable(["method", "published"], [["SimCLR", "69.3 (1000 ep)"]])
        >>> Console(width=40).print(table)
         method   published
        ─────────────────────────
         SimCLR   69.3 (1000 ep)
        >>> Console(width=12).print(table)
        SimCLR
          published:
          69.3 (1000
          ep)
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numbers: Collection[int] = ()
    bold: Collection[int] = ()
    header: bool = True

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.text import Text

        if self.title:
            yield Text(self.title, style="bold", overflow="fold")
        lines = [self.columns, *self.rows] if self.header else self.rows
        cells = [
            [line[place] for line in lines if 1 < len(line) > place or len(self.columns) == 1]
            for place in range(len(self.columns))
        ]
        least = [
            max(_longest(cell, whole=place in self.numbers) for cell in cells[place]) for place in range(len(cells))
        ]
        most = [
            max(_longest(line, whole=True) for cell in column for line in [*cell.splitlines(), ""]) for column in cells
        ]
        spare = options.max_width - sum(least) - _GAP * len(least) - len(least)  # and the lines between columns
        yield from self._as_list() if spare < 0 else self._as_table(_widths(least, most, spare))

    def _as_table(self, widths: Sequence[int]) -> "Iterator[RenderableType]":
        from rich import box
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=box.SIMPLE_HEAD, show_header=self.header, show_edge=False)
        for place, name in enumerate(self.columns):
            drawn.add_column(
                Text(name),
                justify="right" if place in self.numbers else "left",
                width=widths[place],
                no_wrap=place in self.numbers,
            )
        for number, row in enumerate(self.rows):
            if len(row) == 1 and len(self.columns) > 1:
                if number:
                    drawn.add_section()
                drawn.add_row(Text(row[0], style="bold"))
            else:
                drawn.add_row(*(Text(c, style="bold" if p in self.bold else "") for p, c in enumerate(row)))
        yield drawn

    def _as_list(self) -> "Iterator[RenderableType]":
        from rich.padding import Padding
        from rich.text import Text

        for row in self.rows:
            first, *others = row
            if not others:
                yield Text(f"\n{first}", style="bold underline", overflow="fold")
                continue
            yield Text(first, style="bold", overflow="fold")
            for name, cell in zip_longest(self.columns[1:], others, fillvalue=""):
                if cell:
                    head = f"{name}: " if name and self.header else ""
                    yield Padding(Text(f"{head}{cell}", overflow="fold"), (0, 0, 0, 2))


def _widths(least: Sequence[int], most: Sequence[int], spare: int) -> list[int]:
    """Widths between the least and the most, by which so many columns of the terminal are shared out."""
    wishes = [wanted - needed for needed, wanted in zip(least, most)]
    share = min(1.0, spare / max(1, sum(wishes)))
    return [needed + int(share * wish) for needed, wish in zip(least, wishes)]


def _longest(text: str, *, whole: bool) -> int:
    """Columns of the terminal of the longest word, or of the whole text."""
    from rich.cells import cell_len

    return max((cell_len(word) for word in ([text] if whole else text.split())), default=0)
