"""Plan of a benchmark that does what fits into some minutes and goes on later where it stopped.

A part asks one question of several items (methods, networks, runs), in a process of its own: one that crashes, or that
is out of time, costs no other its result. Every finished item is written at once, with the code, the hardware and the
versions that it was measured with; it is measured again when one of them is another.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslbolts.checks import write_text

Row = dict[str, Any]
"""Numbers and words of one item, by the names of the page's columns; lists are for pictures and stand in no column."""


@dataclass(frozen=True)
class Setup:
    """Where and how a part measures.

    Attributes:
        device: "cuda" or "cpu".
        small: tiny networks and few steps: a trial of the script, not a measurement.
        data: folder with CIFAR-10 as torchvision lays it out.
        seconds: left for this item.
        folder: for files of the benchmark: photos, runs, logs.
    """

    device: str
    small: bool
    data: Path | None
    seconds: float
    folder: Path


@dataclass(frozen=True)
class Part:
    """One question of the benchmark.

    Attributes:
        name: short, and unique.
        question: in one sentence, for the page.
        minutes: below which none of its items is begun.
        items: one row of the page each.
        measure: of an item; it may be called again for one whose row says ``"finished": False``.
        needs_data: whether it is left out without a folder of data.
        fills: whether an item takes all the time that it is given.
    """

    name: str
    question: str
    minutes: float
    items: Sequence[str]
    measure: Callable[[str, Setup], Row]
    needs_data: bool = False
    fills: bool = False


@dataclass(frozen=True)
class Entry:
    """An item's result and everything that it depends on.

    Attributes:
        part: its part's name.
        item: its name.
        state: "finished", "unfinished" or "failed".
        row: its numbers.
        why: of what failed.
        identity: ``{"commit": ..., "code": ..., "hardware": ..., "versions": ...}``.
        date: when, UTC.
        seconds: that it took.
        command: that measured it.
    """

    part: str
    item: str
    state: str
    row: Row = field(default_factory=dict)
    why: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    seconds: float = 0.0
    command: str = ""


class Ledger:
    """Entries in a JSON file.

    Args:
        path: of the file; it need not exist.
        identity: of what is measured now.
        command: that measures.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], command: str) -> None:
        self.path, self.identity, self.command = path, identity, command
        stored = json.loads(path.read_text()) if path.exists() else []
        self.entries = {(entry["part"], entry["item"]): Entry(**entry) for entry in stored}

    def keep(self, entry: Entry) -> None:
        """Write an entry, in place of one of the same item."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stamped = replace(entry, identity=self.identity, date=now, command=self.command)
        self.entries[entry.part, entry.item] = stamped
        write_text(self.path, json.dumps([asdict(kept) for kept in self.entries.values()], indent=1) + "\n")

    def state(self, part: str, item: str) -> str:
        """The entry's state; "" where there is none, or one of other code, hardware or versions.

        The commit alone says nothing: one that only adds a page leaves all code as it is.
        """
        entry = self.entries.get((part, item))
        if entry is None or any(entry.identity.get(k) != self.identity[k] for k in ("code", "hardware", "versions")):
            return ""
        return entry.state

    def broken(self, part: Part) -> bool:
        """Whether all that is open has failed before."""
        return all(self.state(part.name, item) == "failed" for item in self.open(part))

    def open(self, part: Part) -> list[str]:
        """Items that are not finished: those that failed before come last."""
        items = [item for item in part.items if self.state(part.name, item) != "finished"]
        return sorted(items, key=lambda item: self.state(part.name, item) == "failed")


Execute = Callable[[Part, Sequence[str], Setup, Callable[[Entry], None]], None]


def carry_out(
    parts: Sequence[Part],
    ledger: Ledger,
    setup: Setup,
    minutes: float,
    execute: Execute,
    *,
    after_each: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Measure what is open and fits, in the order of the list; what failed before comes last.

    Args:
        parts: the most valuable first.
        ledger: takes the results.
        setup: its seconds are set here.
        minutes: for everything together.
        execute: measures items of a part, and gives each entry to a function.
        after_each: called after every entry that is kept.
        clock: seconds.
    """
    deadline = clock() + 60 * minutes

    def keep(entry: Entry) -> None:
        ledger.keep(entry)
        after_each()
        print(f"{entry.part}: {entry.item}: {entry.state} {entry.why}".rstrip(), flush=True)

    for part in sorted(parts, key=ledger.broken):
        items, left = ledger.open(part), deadline - clock()
        if not items:
            print(f"{part.name}: finished before")
        elif part.needs_data and setup.data is None:
            print(f"{part.name}: left out, since --data names no folder")
        elif left < 60 * part.minutes:
            print(f"{part.name}: left for later; it needs {part.minutes:g} minutes, and {left / 60:.1f} are left")
        else:
            execute(part, items, replace(setup, seconds=left), keep)


def measured(part: Part, items: Sequence[str], setup: Setup) -> Iterator[Entry]:
    """Entries of the items, as long as there is time; after one that failed, a fresh process is better."""
    deadline = time.monotonic() + setup.seconds
    for place, item in enumerate(items):
        began = time.monotonic()
        left = deadline - began
        if place and left < 60 * part.minutes:
            return
        try:
            row = part.measure(item, replace(setup, seconds=left / (len(items) - place) if part.fills else left))
        except Exception as error:  # whatever it is, it is this item's result
            traceback.print_exc()
            last = " ".join(str(error).split())[:300]
            why = f"{type(error).__name__}: {last}"
            yield Entry(part.name, item, "failed", why=why, seconds=time.monotonic() - began)
            return
        state = "finished" if row.pop("finished", True) else "unfinished"
        yield Entry(part.name, item, state, row, seconds=time.monotonic() - began)


def in_processes(script: Path, arguments: Sequence[str]) -> Execute:
    """A way to measure items in processes of their own.

    Args:
        script: started with ``--one PART --items ... --seconds S --into FILE``; it appends an entry per line.
        arguments: further arguments.
    """

    def execute(part: Part, items: Sequence[str], setup: Setup, keep: Callable[[Entry], None]) -> None:
        open_items, deadline = list(items), time.monotonic() + setup.seconds
        logs = setup.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        while open_items and (left := deadline - time.monotonic()) > min(setup.seconds, 60 * part.minutes) - 1:
            into, log = (logs / f"{part.name.replace(' ', '-')}.{ending}" for ending in ("jsonl", "txt"))
            into.write_text("")
            words = [sys.executable, str(script), *arguments, "--one", part.name, "--items", *open_items]
            environment = os.environ | {"PYTHONUNBUFFERED": "1"}
            with log.open("w") as output:
                process = subprocess.Popen(
                    [*words, "--seconds", f"{left:.0f}", "--into", str(into)],
                    stdout=output, stderr=subprocess.STDOUT, env=environment,
                )  # fmt: skip
                grace = 90.0 if part.fills else 0.0  # it ends by itself, between two epochs
                came = _entries_of(process, into, deadline + grace, keep)
            for entry in came:
                open_items.remove(entry.item)
            if time.monotonic() >= deadline:
                print(f"{part.name}: out of time; {len(open_items)} items are left for later")
                return
            if not came and open_items:  # it died without a word
                last = ([line for line in log.read_text().splitlines() if line.strip()] or ["no output"])[-1]
                keep(Entry(part.name, open_items.pop(0), "failed", why=f"exit {process.returncode}: {last[:300]}"))

    return execute


def _entries_of(
    process: "subprocess.Popen[bytes]", into: Path, deadline: float, keep: Callable[[Entry], None]
) -> list[Entry]:
    """Entries that the process writes until it ends or is out of time, each given to ``keep`` when it is there."""
    came: list[Entry] = []
    try:
        while True:
            ended = process.poll() is not None
            for line in into.read_text().split("\n")[len(came) : -1]:  # whole lines
                came.append(Entry(**json.loads(line)))
                keep(came[-1])
            if ended or time.monotonic() > deadline:
                return came
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
