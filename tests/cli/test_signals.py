"""SIGTERM to the command line, as a user or a cluster sends it: to one process, and to the first of two ranks."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sslbolts.cli import main
from tests.cli.test_training import DATA, MODEL, QUIET

ROOT = Path(__file__).parents[2]
FIT = [
    *("fit", *MODEL, *DATA, *QUIET, "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=0"),
    *("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.logger.name=mine"),
    *("--trainer.logger.version=", "--trainer.enable_checkpointing=false"),
]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_sigterm_saves_says_how_to_go_on_and_leaves_with_143(tmp_path, ranks, capsys, monkeypatch):
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"] if ranks == 2 else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [sys.executable, "-m", "sslbolts", *FIT, *two, "--trainer.max_epochs=100000"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        begun = tmp_path / "runs" / ".mine.before"
        settled = tmp_path / "runs" / "mine" / "run.json"
        last = time.monotonic() + 200
        while (begun.exists() or not settled.exists()) and run.poll() is None and time.monotonic() < last:
            time.sleep(0.05)
        if ranks == 1:  # nobody else may write there
            monkeypatch.chdir(tmp_path)
            assert main(FIT) == 2
            assert f"already going on in runs/mine (process {run.pid} on" in capsys.readouterr().err
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=100)
    finally:
        run.kill()
    assert run.returncode == 143, output[-3000:]
    saved = re.search(r"SIGTERM: saved (\S+) after (\d+) steps; go on with\n  sslbolts (.*)", output.replace(",", ""))
    assert saved is not None, output[-3000:]
    file = tmp_path / saved[1]
    assert file == tmp_path / "runs" / "mine" / "interrupted.ckpt"
    assert torch.load(file, weights_only=True)["global_step"] == int(saved[2]) > 0
    assert f"--ckpt_path={saved[1]}" in shlex.split(saved[3])
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine"]
    assert "Traceback" not in output
