"""The table of all runs that were killed, at the end of the tests' output."""

from typing import Any

import pytest

_ROW = pytest.StashKey[str]()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Takes what a test wrote down, through a process' report: tests may run in several."""
    if call.when == "call" and (row := item.stash.get(_ROW, None)) is not None:
        outcome = "equal" if call.excinfo is None else "NOT EQUAL"
        item.user_properties.append(("killed", f"{row} | {outcome} |"))


@pytest.fixture
def write_down(request: pytest.FixtureRequest) -> Any:
    """Keeps the beginning of this test's row."""

    def write(row: str) -> None:
        request.node.stash[_ROW] = row

    return write


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "killed"]
    if rows:
        terminalreporter.write_line("| method | killed | resumed with | tensors | values | cells of the log | end |")
        terminalreporter.write_line("|---|---|---|---|---|---|---|")
        for row in sorted(rows):
            terminalreporter.write_line(row)
        equal = sum(row.endswith("| equal |") for row in rows)
        terminalreporter.write_line(f"{equal} of {len(rows)} runs that were killed ended as the undisturbed one.")
