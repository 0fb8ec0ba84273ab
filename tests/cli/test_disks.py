"""Disks that are full or read-only: what was computed is shown, and what needs no file goes on without."""

import errno
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sslbolts.cli import main, methods
from sslbolts.cli.shared import results
from sslbolts.errors import UsageError
from sslbolts.evaluation.feature_files import save_columns
from sslbolts.evaluation.result import Result
from tests.cli.wrong import DATA, MODEL, TRAINER


def test_a_result_is_printed_before_it_is_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    result = Result("knn", "x.ckpt", "CIFAR10Mini", {"top1": 0.4321}, {"k": 20})
    config = SimpleNamespace(output=str(tmp_path / "file" / "x.json"))
    with pytest.raises(UsageError, match=r"x\.json could not be written: "):
        results.finish(result, config, SimpleNamespace(feature_name="backbone"))
    assert "43.21 %" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_skipped_with_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for name in ("bank", "test"):
            save_columns({"features": torch.zeros(1, 2)}, tmp_path / "file" / "deep" / f"{name}.safetensors")
    assert [str(line.message) for line in told] == [
        f"features are not kept: {tmp_path}/file/deep could not be written to: Not a directory."
    ]


def test_features_go_elsewhere_where_no_log_can_be(capsys, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("no folder")
    trainer = [option for option in TRAINER if not option.startswith(("--trainer.logger", "--trainer.limit"))]
    code = main(
        [
            "predict",
            "--model=SimCLR",
            *MODEL,
            *DATA,
            *trainer,
            "--trainer.limit_predict_batches=1",
            "--output=out/x.npz",
        ]
    )
    assert code == 0
    with np.load(tmp_path / "out" / "x.npz") as found:
        assert found["features"].shape == (8, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


def test_a_full_disk_behind_what_is_printed_is_one_line(capsys, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["methods"]) == 2
    assert (
        capsys.readouterr().err
        == "error: what is printed cannot be written: No space left on device. Make room there.\n"
    )


def test_a_disk_that_is_read_only_is_one_line_wherever_it_is_met(capsys, monkeypatch):
    def meets(argv):
        raise OSError(errno.EROFS, "Read-only file system", "runs/x.json")

    monkeypatch.setattr(methods, "main", meets)
    assert main(["methods"]) == 2
    assert capsys.readouterr().err == "error: runs/x.json cannot be written: Read-only file system. Make room there.\n"
