"""``sslbolts methods``: a table of what there is."""

from collections.abc import Sequence
from itertools import groupby

from sslbolts.cli.shared.parser import Parser
from sslbolts.methods.registry import METHODS

__all__ = ["main"]

_COLUMNS = ("name", "family", "views", "needs", "paper", "published")
_CAPTION = (
    "published: the paper's ImageNet linear top-1 (%), with a ResNet-50 unless it says otherwise, where it has one. "
    "† quoted from memory, not verified. "
    "sslbolts fit --model NAME trains one; its views come with --data.views VIEWS."
)


def main(argv: Sequence[str]) -> int:
    """Print the table of methods.

    Example:
        >>> main(["--plain"])
        name ...
        SimCLR ...
        0
    """
    parser = Parser("sslbolts methods", description="List the methods, what they need, and their papers.")
    parser.add_argument("--plain", action="store_true", help="columns divided by tabs, for other programs")
    arguments = parser.parse(argv)
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
