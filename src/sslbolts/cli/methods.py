"""``sslbolts methods``: a table of what there is, or the page of one method."""

from collections.abc import Sequence
from itertools import groupby

from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.registry import METHODS
from sslbolts.tables import TextTable

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
    from rich.console import Console

    lines: list[Sequence[str]] = []
    for family, methods in groupby(rows, key=lambda row: row[1]):
        lines.append([family])
        lines += [(name, *others) for name, _, *others in methods]
    console = Console()
    console.print(TextTable([column for column in _COLUMNS if column != "family"], lines))
    console.print(f"\n{_CAPTION}", highlight=False)


def _print_page(name: str) -> None:
    if name not in METHODS:
        raise UsageError(f'there is no method "{name}".{did_you_mean(name, METHODS)} There are: {", ".join(METHODS)}.')
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from sslbolts.methods.pages import PAGES, configs_of, defaults_of, views_of

    method, page, console = METHODS[name], PAGES[name], Console(highlight=False)
    console.print(f"[bold]{name}[/bold] ({method.family.replace('_', '-')})\n")
    console.print(page.idea + "\n", markup=False)
    console.print(Padding(Text(page.formula.replace(",  ", "\n")), (0, 0, 0, 4)))
    rows = {
        "paper": method.paper,
        "published": f"ImageNet linear top-1: {method.published}" if method.published else "",
        "needs": method.needs,
        "views": "\n".join(views_of(method.views)) if method.views else "",
        "configs": "\n".join(configs_of(name)),
        "defaults": "\n".join(f"{key} = {value}" for key, value in defaults_of(name).items()),
    }
    facts = [[title, text] for title, text in rows.items() if text]
    console.print(TextTable(["", ""], facts, bold=[0], header=False))
    console.print(f"sslbolts fit --model {name} --help explains every argument.")
