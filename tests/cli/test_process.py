"""How the command ends: its exit code, what it leaves on stderr, and that bugs keep their traceback."""

import os
import subprocess
import sys

import pytest

from sslbolts import METHODS
from sslbolts._lightning import LIGHTNING
from sslbolts.cli import main
from tests.cli.wrong import SIMCLR


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["fit", "--model", "SimCRL"], {}, "there is no method 'SimCRL'"),
        (["fit", "--model", "SimCLR"], {"SSLBOLTS_LIGHTNING": "torch"}, "SSLBOLTS_LIGHTNING='torch'"),
    ],
)
def test_the_real_command_prints_nothing_else(arguments, environment, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sslbolts", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m sslbolts methods --plain | true"
    done = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 128 + 13)  # 0 if the pipe was still open, and big enough


def test_a_text_that_ends_the_program_is_printed(monkeypatch, capsys):
    monkeypatch.setattr("sslbolts.cli.methods.main", lambda argv: sys.exit("the disk is full"))
    assert main(["methods"]) == 1
    assert capsys.readouterr().err == "the disk is full\n"


def test_a_bug_in_somebodys_class_keeps_its_traceback(monkeypatch, tmp_path):
    (tmp_path / "somebodys.py").write_text(
        f"import {LIGHTNING}\n\n\n"
        f"class Broken({LIGHTNING}.Callback):\n    def __init__(self):\n        raise RuntimeError('a bug')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="a bug"):
        main([*SIMCLR, "--trainer.callbacks=somebodys.Broken"])


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(METHODS, "SimCLR", None)
    with pytest.raises(AttributeError):
        main(["methods"])
