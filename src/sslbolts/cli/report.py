"""``sslbolts report``: one HTML page of a run, or of several beside each other."""

from collections.abc import Sequence
from pathlib import Path

from sslbolts.checks import must_be_writable
from sslbolts.cli.shared.parser import Parser

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the page.

    Raises:
        UsageError: for a user's mistake.
    """
    parser = Parser(
        prog="sslbolts report",
        description="One self-contained HTML page of a run: curves with baselines, results, evaluations, pictures, "
        "configuration, environment and the command. Several runs are compared.",
    )
    parser.add_argument("run", nargs="+", metavar="RUN_DIR", help="folder with metrics.csv or event files")
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        help="the page; default: report.html in the run's folder; of several, here",
    )
    arguments = parser.parse(argv)

    from sslbolts.report import write_report

    runs = [Path(run) for run in arguments.run]
    beside = runs[0] if len(runs) == 1 else Path()
    page = Path(arguments.output or beside / "report.html")
    if all(run.is_dir() for run in runs) and not page.is_dir():  # else that is said
        must_be_writable(page, "Make room there, or name another file with --output.")
    written = write_report(runs, page)
    shown = str(written).encode("utf-8", "replace").decode()  # names of files may hold bytes that are no text
    print(f"wrote {shown} ({written.stat().st_size / 2**20:.1f} MB)")
    return 0
