"""The command line on two processes; those that it starts itself are in test_signals.py and `make test-slow`."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sslbolts.cli import main
from tests.helpers.ranks import TwoRanks

ROOT = Path(__file__).parents[2]

CONFIG = """
trainer:
  accelerator: cpu
  max_epochs: 1
  limit_train_batches: 8
  enable_progress_bar: false
  enable_model_summary: false
  num_sanity_val_steps: 0
  logger: {class_path: CSVLogger, init_args: {save_dir: runs, name: ddp, version: ""}}
  callbacks:
    - {class_path: KNNMonitor, init_args: {k: [20], baselines: false, max_bank: 500}}
    - {class_path: OnlineLinearProbe, init_args: {num_classes: 10}}
    - {class_path: ModelCheckpoint, init_args: {dirpath: runs/ddp, filename: model, monitor: knn/k20_t0.07, mode: max}}
model:
  class_path: BYOL
  init_args:
    backbone: resnet18
    backbone_kwargs: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_type: deep, stem_width: 4}
    hidden_dim: 8
    output_dim: 8
    warmup_epochs: 0
data:
  class_path: tests.cli.mini997.Mini997DataModule
  init_args: {batch_size: 32, eval_batch_size: 100, num_workers: 0, views: byol}
"""
PUPIL = """
class_path: Distillation
init_args:
  backbone: resnet18
  backbone_kwargs: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_type: deep, stem_width: 4}
  teacher: runs/ddp/model.ckpt
"""
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]


def run(folder: Path, *arguments: str) -> None:
    with contextlib.chdir(folder):
        assert main(list(arguments)) == 0


def told(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of the command, and what it says on stderr."""
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(said):
        return main(list(arguments)), said.getvalue()


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes as a user starts them."""
    return subprocess.run(
        [sys.executable, "-m", "sslbolts", *arguments, *TWO],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def paired(two_ranks: TwoRanks) -> Callable[..., None]:
    """Like :func:`run`, on two processes that are there already."""
    return lambda folder, *arguments: two_ranks(run, folder, *arguments, *TWO)


def validated(run: Callable[..., None], folder: Path) -> dict[str, float]:
    run(folder, "validate", "--config=config.yaml", "--ckpt_path=runs/ddp/model.ckpt")
    logs = folder.glob("runs/ddp/validate/version_*/metrics.csv")
    newest = max(logs, key=lambda log: int(log.parent.name.removeprefix("version_")))
    rows = list(csv.DictReader(newest.open()))
    return {name: float(value) for row in rows for name, value in row.items() if value}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, two_ranks) -> Path:
    """A folder with the checkpoint of a run on two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "config.yaml").write_text(CONFIG)
    paired(two_ranks)(folder, "fit", "--config=config.yaml")
    return folder


@pytest.mark.slow
def test_processes_that_the_command_starts_train_as_those_of_the_other_tests(trained, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = started(tmp_path, "fit", "--config=config.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    here, there = (torch.load(folder / "runs/ddp/model.ckpt", weights_only=True) for folder in (tmp_path, trained))
    assert here["global_step"] == there["global_step"]
    assert here["state_dict"].keys() == there["state_dict"].keys()
    assert all(torch.equal(value, there["state_dict"][name]) for name, value in here["state_dict"].items())


def test_two_processes_validate_as_one_does(trained, two_ranks):
    one, two = validated(run, trained), validated(paired(two_ranks), trained)
    assert {"knn/k20_t0.07", "ridge/top1", "probe/top1"} <= one.keys()
    assert one == pytest.approx(two, rel=1e-6)
    for name in ("knn/k20_t0.07", "ridge/top1", "probe/top1"):
        assert one[name] == two[name]  # counts of right answers
        assert one[name] * 997 == pytest.approx(round(one[name] * 997), abs=1e-3)


def test_two_processes_predict_as_one_does(trained, two_ranks):
    files = []
    for name, predict in (("one", run), ("two", paired(two_ranks))):
        predict(
            *(trained, "predict", "--config=config.yaml", "--ckpt_path=runs/ddp/model.ckpt", "--data.predict_on=val"),
            f"--output={name}.npz",
        )
        files.append(np.load(trained / f"{name}.npz"))
    one, two = files
    assert one["features"].shape == two["features"].shape == (997, 8)
    assert one["indices"].tolist() == two["indices"].tolist() == list(range(997))
    assert one["targets"].tolist() == two["targets"].tolist()
    np.testing.assert_allclose(one["features"], two["features"], rtol=1e-5, atol=1e-6)


def test_two_processes_move_an_earlier_run_once_after_both_have_read_it(trained, tmp_path, two_ranks):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / "ddp").rglob("*") if path.is_file()}
    config = yaml.safe_load(CONFIG) | {"model": yaml.safe_load(PUPIL)}
    config["trainer"] |= {"limit_train_batches": 1, "limit_val_batches": 1}
    (tmp_path / "second.yaml").write_text(yaml.safe_dump(config))
    paired(two_ranks)(tmp_path, "fit", "--config=second.yaml")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ddp", "ddp-1"]
    kept = {path: path.read_bytes() for path in (tmp_path / "runs" / "ddp-1").rglob("*") if path.is_file()}
    assert {str(path).replace("ddp-1", "ddp"): data for path, data in kept.items()} == {
        str(path): data for path, data in before.items()
    }
    now = {path.name for path in (tmp_path / "runs" / "ddp").iterdir()}
    assert {"config.yaml", "run.json", "metrics.csv", "hparams.yaml"} <= now


def test_a_mistake_on_two_processes_is_still_an_error_line(tmp_path, two_ranks):
    (tmp_path / "config.yaml").write_text(CONFIG)
    told_by = two_ranks(told, tmp_path, "fit", "--config=config.yaml", "--data.views=swav", *TWO)
    for (code, said), begin in zip(told_by, ("error: ", "error (rank 1): "), strict=True):
        assert code == 2
        assert f"{begin}BYOL takes 2 views of each image, and the batch has 8" in said
        assert "Traceback" not in said


@pytest.mark.slow
def test_a_mistake_on_two_processes_that_the_command_starts_is_still_an_error_line(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = started(tmp_path, "fit", "--config=config.yaml", "--data.views=swav")
    assert done.returncode != 0
    assert "error: BYOL takes 2 views of each image, and the batch has 8" in done.stderr
    assert "Traceback" not in done.stderr
