"""Results on the screen and in a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.checks import must_be_writable
from sslbolts.cli.shared.checks import check_seed
from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sslbolts.evaluation import Encoder, Result
    from sslbolts.tables import TextTable

__all__ = ["add_output", "check", "finish", "result_file", "show"]

_MOST_ROWS = 20  # of a sweep that are printed; the file has them all


def add_output(parser: Parser) -> None:
    """The file of the result."""
    parser.add_argument("--output", type=str | None, default=None, help="FILE.json; default: beside the checkpoint")


def check(config: Any) -> None:
    """Refuse what could not be used at the end.

    Raises:
        UsageError: for a result that is no ``.json`` or could not be written, or what is no seed.
    """
    from sslbolts.evaluation.result import result_path

    if config.output is not None and Path(config.output).suffix != ".json":
        raise UsageError(f'--output "{config.output}": the file must end in .json.')
    check_seed("--seed", config.seed)
    if config.output is None:
        place = result_path(str(config.source), "result", "").parent / "result.json"
        must_be_writable(place, "Make room there, or name another file with --output.")
    else:
        must_be_writable(config.output)


def finish(
    result: "Result",
    config: Any,
    encoder: "Encoder",
    tables: "Sequence[TextTable | None]" = (),
    *,
    picture: "Figure | None" = None,
) -> int:
    """Print a result and write it, in the first process of a run; returns the exit code.

    Args:
        result: of a protocol.
        config: says where it goes.
        encoder: what it is of.
        tables: in place of its own.
        picture: a figure that is written beside it.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        show(result, tables)
        path = result.save(result_file(result, config, encoder))
        written = [path, *map(path.with_suffix, result.beside)]
        if picture is not None:
            from sslbolts.pictures.style import save

            written.append(save(picture, path.with_suffix(".png")))
        print(f"wrote {', '.join(map(str, written))}")
    return 0


def show(result: "Result", tables: "Sequence[TextTable | None]" = ()) -> None:
    """Print a result: its own table, or others and then what the numbers depend on."""
    from rich.console import Console

    from sslbolts.evaluation.result import format_setting

    console = Console()
    if not tables:
        console.print(result.table())
        if 0 < len(result.rows) <= _MOST_ROWS:
            console.print(result.rows_table())
        return
    for table in tables:
        console.print(table)
    for name, setting in result.settings.items():
        console.print(f"{name}: {format_setting(setting)}", style="dim", highlight=False, markup=False)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)


def result_file(result: "Result", config: Any, encoder: "Encoder") -> Path:
    """The file of a result: the given one, or one beside the checkpoint in which no other result is."""
    from sslbolts.evaluation.result import free_path, result_path

    if config.output is not None:
        return Path(config.output)
    settings = config.get("settings") or ""
    return free_path(
        result,
        result_path(result.source, result.protocol, result.data, features=encoder.feature_name, settings=settings),
    )
