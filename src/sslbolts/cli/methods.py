"""``sslbolts methods``: a table of what there is, or the page of one method."""

from collections.abc import Sequence
from itertools import groupby

from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.registry import METHODS

__all__ = ["main"]

_COLUMNS = ("name", "family", "views", "needs", "paper", "published")
_CAPTION = (
    "published: the paper's ImageNet linear top-1 (%), with a ResNet-50 unless it says otherwise, where it has one. "
    "† quoted from memory, not verified. "
    "sslbolts fit --model NAME trains one; its views come with --data.views VIEWS. sslbolts methods NAME tells more."
)


def main(argv: Sequence[str]) -> int:
    """Print the table of methods, or the page of one.

    Raises:
        UsageError: for a name that is not in the table.

    Example:
        >>> main(["--plain"])
        name ...
        SimCLR ...
        0
    """
    parser = Parser("sslbolts methods", description="List the methods, what they need and their papers; or one's page.")
    parser.add_argument("name", nargs="?", type=str | None, default=None, help="a method: its idea, formula, defaults")
    parser.add_argument("--plain", action="store_true", help="columns divided by tabs, for other programs")
    arguments = parser.parse(argv)
    if arguments.name is not None:
        _print_page(arguments.name)
        return 0
    rows = [
        (name, method.family.replace("_", "-"), method.views, method.needs, method.paper, method.published)
        for name, method in METHODS.items()
    ]
    if arguments.plain:
        print("\n".join("\t".join(row) for row in (_COLUMNS, *rows)))
    else:
        _print_table(rows)
    return 0


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        if column != "family":  # it heads its methods
            table.add_column(
                column, min_width=16 if column == "paper" else 9, no_wrap=column == "name", overflow="fold"
            )
    for family, methods in groupby(rows, key=lambda row: row[1]):
        table.add_row(f"[bold]{family}[/bold]")
        for name, _, *others in methods:
            table.add_row(name, *others)
        table.add_section()
    console = Console()
    console.print(table)
    console.print(_CAPTION, highlight=False)  # a table's own caption is cut where the table is wider than the terminal


def _print_page(name: str) -> None:
    if name not in METHODS:
        raise UsageError(f'there is no method "{name}".{did_you_mean(name, METHODS)} There are: {", ".join(METHODS)}.')
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from sslbolts.methods.pages import PAGES, configs_of, defaults_of, views_of

    method, page, console = METHODS[name], PAGES[name], Console(highlight=False)
    console.print(f"[bold]{name}[/bold] ({method.family.replace('_', '-')})\n")
    console.print(page.idea + "\n", markup=False)
    console.print(Padding(Text(page.formula.replace(",  ", "\n")), (0, 0, 0, 4)))
    facts = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    rows = {
        "paper": method.paper,
        "published": f"ImageNet linear top-1: {method.published}" if method.published else "",
        "needs": method.needs,
        "views": "\n".join(views_of(method.views)) if method.views else "",
        "configs": "\n".join(configs_of(name)),
        "defaults": "\n".join(f"{key} = {value}" for key, value in defaults_of(name).items()),
    }
    for title, text in rows.items():
        if text:
            facts.add_row(title, Text(text))
    console.print(facts)
    console.print(f"sslbolts fit --model {name} --help explains every argument.")
