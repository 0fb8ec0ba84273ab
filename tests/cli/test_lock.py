"""The file that says which process writes to a folder."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sslbolts.cli.run.lock import FolderLock
from sslbolts.errors import UsageError


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / ".run.lock"


def lock(path: Path) -> FolderLock:
    return FolderLock(path, path.parent)


def written(path: Path, age: float = 0.0, **facts: object) -> None:
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": "noon"} | facts))
    os.utime(path, (time.time() - age,) * 2)


def test_one_process_has_it_until_it_gives_it_back(path):
    first = lock(path)
    first.acquire()
    with pytest.raises(UsageError, match=rf"already going on in .* \(process {os.getpid()} on"):
        lock(path).acquire()
    first.release()
    assert not path.exists()
    lock(path).acquire()


def test_that_of_a_dead_process_is_taken_over(path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    written(path, pid=dead.pid)
    lock(path).acquire()
    assert json.loads(path.read_text())["pid"] == os.getpid()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_another_process_may_have_got_the_number_of_a_dead_one(path):
    written(path, process_began="1")
    lock(path).acquire()


def test_a_run_on_another_machine_is_gone_after_a_day_of_silence(path):
    written(path, host="elsewhere", age=23 * 3600)
    with pytest.raises(UsageError, match=rf"sign of life is 1380 min old: if it is gone, delete {path}"):
        lock(path).acquire()
    written(path, host="elsewhere", age=25 * 3600)
    lock(path).acquire()


def test_an_empty_file_is_one_that_is_just_being_written(path):
    path.touch()
    with pytest.raises(UsageError, match="already going on"):
        lock(path).acquire()
    os.utime(path, (0, 0))
    lock(path).acquire()


def test_a_lock_that_another_run_has_taken_over_stays(path):
    first = lock(path)
    first.acquire()
    written(path, pid=1)
    first.release()
    assert path.exists()


def test_a_sign_of_life_is_given_once_a_minute(path, monkeypatch):
    first = lock(path)
    first.acquire()
    os.utime(path, (0, 0))
    first.touch()
    assert path.stat().st_mtime == 0
    later = time.monotonic() + 61
    monkeypatch.setattr("sslbolts.cli.run.lock.time.monotonic", lambda: later)
    first.touch()
    assert path.stat().st_mtime > 0
