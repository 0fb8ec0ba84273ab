"""``sslbolts configs``: the configurations that come with the package, or the text of one."""

import sys
from collections.abc import Sequence

from sslbolts.cli.shared.parser import Parser
from sslbolts.methods.configurations import configuration, first_sentence, names

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print names and first sentences, or one configuration as it stands.

    Raises:
        UsageError: for a name that there is not.

    Example:
        >>> main(["--plain"])
        amdim_cifar10   AMDIM with its own network ...
        0
    """
    parser = Parser(
        "sslbolts configs",
        description="List the configurations that come with the package; or print one: "
        "sslbolts configs simclr_cifar10 > mine.yaml",
    )
    parser.add_argument("name", nargs="?", type=str | None, default=None, help="a configuration, which is printed")
    parser.add_argument("--plain", action="store_true", help="columns divided by tabs, for other programs")
    arguments = parser.parse(argv)
    if arguments.name is not None:
        sys.stdout.write(configuration(arguments.name).read_text(encoding="utf-8"))
    elif arguments.plain:
        print("\n".join(f"{name}\t{first_sentence(name)}" for name in names()))
    else:
        _print_table()
    return 0


def _print_table() -> None:
    from rich.console import Console

    from sslbolts.tables import TextTable

    console = Console(highlight=False)
    console.print(TextTable(("configuration", "trains"), [(name, first_sentence(name)) for name in names()]))
    console.print("sslbolts fit --config NAME runs one; sslbolts configs NAME > mine.yaml copies it.")
