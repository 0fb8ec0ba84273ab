"""A small file that says which process writes to a folder."""

import json
import os
import socket
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sslbolts.checks import read_regular
from sslbolts.errors import UsageError

__all__ = ["FolderLock"]

_SILENT_FOR = 24 * 3600.0
"""Seconds without a sign of life after which a run on another machine counts as gone."""

_TOUCHED_EVERY = 60.0


class FolderLock:
    """A file with host, process and time of start, which is there while a run writes to a folder.

    That of a process that is gone is taken over: on this machine the process is looked for, and its time of start must
    be the same; one on another machine counts as gone when it has not touched the file for a day.

    Args:
        path: of the file.
        folder: what it stands for, in messages.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.content: dict[str, Any] = {}
        self._touched = 0.0

    def acquire(self) -> None:
        """Make the file.

        Raises:
            UsageError: names the run that has it; or if no file can be made.
        """
        self.content = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_began": _began(os.getpid()),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": Path(sys.argv[0]).name,
        }
        for _ in range(3):
            try:
                opened = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                self._remove_if_dead()
                continue
            except OSError as error:
                raise UsageError(
                    f"{self.folder} cannot be written to: {error.strerror}. Give another folder."
                ) from error
            with os.fdopen(opened, "w") as file:
                json.dump(self.content, file)
            self._touched = time.monotonic()
            return
        raise UsageError(f"another run begins in {self.folder} at this moment: give this one another folder.")

    def touch(self) -> None:
        """Give a sign of life, once a minute at most."""
        if time.monotonic() - self._touched > _TOUCHED_EVERY:
            self._touched = time.monotonic()
            with suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Remove the file, if it is still this run's."""
        with suppress(OSError):
            if self.content and _read(self.path) == self.content:
                self.path.unlink()

    def _remove_if_dead(self) -> None:
        try:
            found, silent = _read(self.path), time.time() - self.path.stat().st_mtime
        except OSError:  # it has just gone
            return
        if _is_alive(found, silent):
            raise UsageError(self._refusal(found, silent))
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(OSError):
            self.path.rename(aside)  # of several that find it dead, one gets it
            if _read(aside) != found:  # another one has taken its place meanwhile
                os.link(aside, self.path)
            aside.unlink()

    def _refusal(self, found: dict[str, Any], silent: float) -> str:
        who = f'process {found.get("pid", "?")} on "{found.get("host", "?")}", begun {found.get("started", "?")}'
        what = "wait for its end, or give this run another folder"
        if found.get("host") != socket.gethostname():
            what += f". Its last sign of life is {silent / 60:.0f} min old: if it is gone, delete {self.path}"
        return f"a run is already going on in {self.folder} ({who}): {what}."


def _is_alive(found: dict[str, Any], silent: float) -> bool:
    if found.get("host") != socket.gethostname() or not isinstance(found.get("pid"), int):
        return silent < (_SILENT_FOR if found else _TOUCHED_EVERY)  # nothing in it: it is being written, or was
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process
        pass
    return found.get("process_began") in (None, _began(found["pid"]))


def _began(pid: int) -> str | None:
    """The time at which a process began, in the kernel's count; None where it does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_regular(path, 2**16))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
