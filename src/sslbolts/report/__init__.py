"""Reports of runs: self-contained HTML pages."""

from collections.abc import Sequence
from pathlib import Path

from sslbolts.checks import whole_file
from sslbolts.errors import UsageError
from sslbolts.report.comparison import comparison_page
from sslbolts.report.page import run_page
from sslbolts.report.run import Run, read_run

__all__ = ["Run", "read_run", "write_report"]


def write_report(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Write one HTML page of a run, or one that compares several; it works offline and refers to no other file.

    Args:
        folders: of runs, where ``metrics.csv`` or TensorBoard's events, ``config.yaml``, ``run.json``, pictures and
            ``evaluation/*.json`` are, as far as they exist.
        output: the page, ending in ``.html``; its folder is made.

    Raises:
        UsageError: if a folder is no run's, one is given twice, the ending is another, or the page cannot be written.

    Example:
        >>> write_report([], "report.html")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: a report is of at least one run's folder...
    """
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f'the page "{output}" must end in .html.')
    if output.is_dir():
        raise UsageError(f'the page "{output}" is a folder: name a file.')
    if output.is_symlink() or (output.exists() and not output.is_file()):  # a stranger's folder could hold either
        raise UsageError(f'the page "{output}" is a link, or no regular file: name another, or remove it.')
    if not folders:
        raise UsageError("a report is of at least one run's folder: none was given.")
    resolved = [Path(folder).resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"a run is given twice: {', '.join(map(str, folders))}.")
    runs = [read_run(folder) for folder in folders]
    page = run_page(runs[0]) if len(runs) == 1 else comparison_page(runs)
    with whole_file(output) as unfinished:
        unfinished.write_bytes(page.encode("utf-8", "replace"))  # names of files may hold bytes that are no text
    return output
