"""A result survives its file and shows what it depends on."""

import io

import pytest
import torch
from rich.console import Console

from sslbolts import UsageError
from sslbolts.evaluation import Result


def _result() -> Result:
    return Result(
        "knn",
        "runs/x/last.ckpt",
        "CIFAR10Mini",
        {"top1": 0.4567, "rankme": 31.4},
        {"layer": "backbone", "k": 20, "chosen": "on a tenth [of the bank]"},
        rows=[{"k": 5, "top1": 0.4}, {"k": 20, "top1": 0.4567}],
        notes=["small"],
    )


def test_the_file_gives_the_result_back(tmp_path):
    result = _result()
    assert Result.from_json(result.save(tmp_path / "deep" / "knn.json").read_text()) == result
    assert result.environment["torch"] == torch.__version__


def test_tables_show_metrics_and_settings():
    console = Console(file=io.StringIO(), width=100)
    console.print(_result().table(), _result().rows_table())
    shown = console.file.getvalue()
    for text in ("45.67 %", "31.4", "on a tenth [of the bank]", "40.00 %", "small", "runs/x/last.ckpt on CIFAR10Mini"):
        assert text in shown


def test_another_file_is_refused():
    with pytest.raises(UsageError, match="no result"):
        Result.from_json('{"a": 1}')
