"""Mutation check: each mistake of ``tests/mutants`` in a copy of the source, and the test that notices it.

    python benchmarks/mutants.py [--only TEXT] [--minutes 60] [--part 1/3]

The tests that are named with the mistakes are among those of ``make test``. Each mistake is made in a temporary copy of
``src``, never in the tree, and its tests run on the copy until one fails; then all tests that failed run on the source
as it is, where they must pass. A mistake that no test notices survives, and the exit status is 1. What was noticed
before on the same source, mistake and files of tests is kept: a run with ``--minutes`` goes on where the last one
ended, and several with a ``--part`` each go side by side. ``--only`` tries the mistakes whose name, family or file has
the text, and writes nothing.

It needs fork, so it runs on Linux and macOS: libraries are imported once, and every run of pytest is a fork.
"""

import argparse
import compileall
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import platform
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mutants import MUTANTS, Mutant  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
LIBRARIES = ("timm", "torchmetrics", "torchvision", "pytorch_lightning")
PATIENCE = 300  # seconds for the tests of one mistake

# How a run of pytest ended.
PASSED, FAILED = 0, 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """End of a run of tests: whether all passed, the first that did not, and seconds."""

    passed: bool
    failed: str = ""
    seconds: float = 0.0


class FirstFailure:
    """Keeps the name of the first test that fails, and counts those that pass."""

    def __init__(self) -> None:
        self.failed = ""
        self.passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
        self.passed += report.when == "call" and report.passed

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def import_libraries() -> None:
    """What the product and its tests import of others; the product itself is imported in every fork anew."""
    torch.set_num_threads(1)
    for name in LIBRARIES:
        __import__(name)
    if any(name.partition(".")[0] == "sslbolts" for name in sys.modules):
        raise SystemExit("sslbolts was imported before its copy could be.")


def in_copy(source: Path, tests: Sequence[str], *, log: Path) -> Outcome:
    """Runs tests on the package under ``source`` in a process of their own, until the first fails."""
    started = time.perf_counter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _run_tests(source, tests, writing, log)
        finally:
            os._exit(3)
    os.close(writing)
    with os.fdopen(reading) as answer, _limit(child, PATIENCE):
        told = answer.read()
    os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it has started
    seconds = time.perf_counter() - started
    if not told:
        return Outcome(False, f"no end within {PATIENCE} s", seconds)
    found = json.loads(told)
    if found["status"] not in (PASSED, FAILED) and not found["failed"]:
        raise RuntimeError(f"{' '.join(tests)}: pytest ended with {found['status']}:\n{log.read_text()[-2000:]}")
    if found["status"] == PASSED and not found["passed"]:
        raise RuntimeError(f"{' '.join(tests)}: none of these tests ran.")
    return Outcome(found["status"] == PASSED, found["failed"], seconds)


def _run_tests(source: Path, tests: Sequence[str], answer: int, log: Path) -> None:
    os.setsid()
    os.chdir(ROOT)
    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(source))
    sys.modules["__main__"] = ModuleType("__main__")  # which processes that tests start would run again
    os.environ |= {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    first = FirstFailure()
    status = int(pytest.main(["-x", "-q", "-m", "not slow and not kill", *tests], plugins=[first]))
    where = Path(sys.modules["sslbolts"].__file__ or "")
    if not where.is_relative_to(source):
        raise SystemExit(f"the tests ran on {where}, not on the copy.")
    with os.fdopen(answer, "w") as pipe:
        json.dump({"status": status, "failed": first.failed, "passed": first.passed}, pipe)
    os._exit(0)


@contextlib.contextmanager
def _limit(process: int, seconds: int) -> Iterator[None]:
    def end(*_: Any) -> None:
        os.killpg(process, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def copy_of_source() -> Iterator[Path]:
    """A copy of ``src``, compiled so that a file of another text is compiled anew however young it is."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        checked = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(source, quiet=2, invalidation_mode=checked)
        yield source


def tried(mutant: Mutant, source: Path, tests: Sequence[str] | None = None) -> Outcome:
    """The tests of one mistake, on the copy that has it; the copy is as before afterwards."""
    path = source / "sslbolts" / mutant.file
    right = path.read_text()
    try:
        path.write_text(mutant.applied(source / "sslbolts"))
        return in_copy(source, tests or mutant.tests, log=source.parent / "log.txt")
    finally:
        path.write_text(right)


def failing_without(tests: Sequence[str], source: Path) -> str:
    """The first of these tests that fails without any mistake, and would notice everything; "" for none."""
    return in_copy(source, tests, log=source.parent / "log.txt").failed


# ---------------------------------------------------------------------------------------------------- results


def git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def commit_of_the_tree() -> str:
    if git("status", "--porcelain", "--", "src", "tests"):
        raise SystemExit("src and tests have changes that are not committed: commit them, or use --only.")
    return git("rev-parse", "--short", "HEAD")


@functools.cache
def _source() -> str:
    return git("rev-parse", "HEAD:src")


def fingerprint(mutant: Mutant) -> str:
    """What the outcome depends on: the source, the mistake, and the files of its tests."""
    files = sorted({ROOT / test.partition("::")[0] for test in mutant.tests})
    parts = [_source(), repr(mutant), *(file.read_text() for file in files if file.is_file())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def keep(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Adds rows to the stored ones, which other parts add to as well, and writes the table of those that still hold."""
    stored = RESULTS / "mutants.json"
    with open(tempfile.gettempdir() + "/sslbolts-mutants.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(stored.read_text()) if stored.exists() else {}
        rows = {}
        for mutant in MUTANTS:
            row = found.get(mutant.name) or known.get(mutant.name)
            if row and row["fingerprint"] == fingerprint(mutant):
                rows[mutant.name] = row
        stored.write_text(json.dumps(rows, indent=1) + "\n")
        write_page(rows)
    return rows


def write_page(rows: dict[str, dict[str, Any]]) -> None:
    """The table ``benchmarks/results/mutants.md``."""
    survived = [name for name, row in rows.items() if not row["test"]]
    families = Counter(mutant.family for mutant in MUTANTS if mutant.name in rows)
    caught = Counter(mutant.family for mutant in MUTANTS if mutant.name in rows and rows[mutant.name]["test"])
    lines = [
        "# Mistakes made on purpose, and the tests that notice them",
        "",
        f"{date.today()}, commit {commit_of_the_tree()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, one core:",
        "",
        "    python benchmarks/mutants.py",
        "",
        f"{len(rows)} of {len(MUTANTS)} mistakes tried, {len(rows) - len(survived)} noticed by a test of `make test`, "
        f"{len(survived)} not. Each is made in a copy of the source, and the tests that are named with it in "
        "`tests/mutants` run until one fails; what fails there passes on the source as it is. Seconds are those of the "
        "whole run of pytest, imports included, on a machine that was busy with other work.",
        "",
        "| family | mistakes | noticed |",
        "|---|---|---|",
        *(f"| {family} | {count} | {caught[family]} |" for family, count in families.items()),
        "",
        "| family | mistake | file | first test that fails | s |",
        "|---|---|---|---|---|",
    ]
    for mutant in MUTANTS:
        if (row := rows.get(mutant.name)) is not None:
            test = f"`{row['test'].removeprefix('tests/')}`" if row["test"] else "**none**"
            lines.append(f"| {mutant.family} | {mutant.name} | `{mutant.file}` | {test} | {row['seconds']:.0f} |")
    (RESULTS / "mutants.md").write_text("\n".join(lines) + "\n")


def part_of(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    return int(number) - 1, int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="text of the name, the family or the file")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no other mistake is tried")
    parser.add_argument("--part", type=part_of, default=(0, 1), help="which of several parts, as 1/3")
    options = parser.parse_args()
    first, parts = options.part
    chosen = [m for m in MUTANTS[first::parts] if options.only.lower() in f"{m.name} {m.family} {m.file}".lower()]
    if not chosen:
        raise SystemExit(f'no mistake has "{options.only}" in its name, family or file.')
    if not options.only:
        commit_of_the_tree()
        known = keep({})
        chosen = [mutant for mutant in chosen if not known.get(mutant.name, {}).get("test")]
    import_libraries()
    until = time.monotonic() + 60 * options.minutes
    survivors, wrong_names, found = [], [], {}
    with copy_of_source() as source:
        for mutant in chosen:
            if time.monotonic() > until:
                break
            try:
                outcome = tried(mutant, source)
            except RuntimeError as error:  # the others can be tried all the same
                print(error, flush=True)
                wrong_names.append(mutant.name)
                continue
            print(f"{outcome.seconds:4.0f} s  {mutant.name}: {outcome.failed or 'SURVIVES'}", flush=True)
            row = {"test": outcome.failed, "seconds": round(outcome.seconds, 1), "fingerprint": fingerprint(mutant)}
            found[mutant.name] = row
            if not options.only:
                keep({mutant.name: row})
            survivors += [mutant.name] if outcome.passed else []
        failed = list(dict.fromkeys(row["test"] for row in found.values() if "::" in row["test"]))
        if failed and (wrong := failing_without(failed, source)):
            if not options.only:  # whatever it noticed counts for nothing
                keep({name: row | {"fingerprint": ""} for name, row in found.items() if row["test"] == wrong})
            raise SystemExit(f"{wrong} fails on the source as it is.")
    if wrong_names:
        raise SystemExit(f"the tests named with these cannot be run: {'; '.join(wrong_names)}")
    if survivors:
        raise SystemExit(f"{len(survivors)} survive: {'; '.join(survivors)}")


if __name__ == "__main__":
    main()
