"""The late bar: behind its patience, and never where the environment forbids bars."""

import subprocess
import sys

import pytest

from sslbolts import progress
from sslbolts.progress import late_bar

PROGRAM = "from sslbolts import progress; progress._PATIENCE = 0.0; print(list(progress.late_bar(range(3), 'Walk')))"


def test_a_bar_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    assert list(late_bar(range(3), "Walk")) == [0, 1, 2]
    assert "Walk" in capsys.readouterr().err


def test_the_environment_forbids_bars():
    """It is read where tqdm is imported, so in a process of its own."""
    done = subprocess.run(["env", "TQDM_DISABLE=1", sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[0, 1, 2]\n", "")


@pytest.mark.parametrize("reason", ["not shown", "another rank"])
def test_who_shows_no_bar_walks_through_the_items_themselves(reason, monkeypatch):
    monkeypatch.setattr(progress, "rank", lambda: int(reason == "another rank"))
    items = [1, 2]
    assert late_bar(items, "Walk", shown=reason != "not shown") is items
