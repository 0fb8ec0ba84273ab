"""A result survives its file and shows what it depends on."""

import io
import os
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from sslbolts import UsageError
from sslbolts.evaluation import Result
from sslbolts.evaluation.result import free_path, result_path


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


def test_all_sources_and_settings_have_files_of_their_own():
    sources = (
        "timm/vit_small_patch16_224.dino",
        "timm/vit_base_patch16_224.mae",
        "timm/resnet18.a1_in1k",
        "timm/resnet18",
        "timm/resnet18 (untrained)",
        "torchvision/resnet18",
        "runs/a/epoch=10.ckpt",
        "runs/a/last.ckpt",
        "SmallConvNet",
    )
    paths = [
        result_path(source, "linear", "CIFAR10", settings=settings) for source in sources for settings in ("", "moco")
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.parent.name == "evaluation" for path in paths)
    assert {path.parents[1].as_posix() for path in paths if "last" in path.name} == {"runs/a"}


def test_a_kept_result_gives_way_to_none_but_the_same(tmp_path):
    result = _result()
    place = tmp_path / "knn.json"
    assert free_path(result, place) == place
    result.save(place)
    assert free_path(replace(result, metrics={"top1": 0.5}), place) == place  # measured again
    others = [replace(result, source="runs/x/epoch=1.ckpt"), replace(result, settings={**result.settings, "seed": 1})]
    for other in others:
        other.save(free_path(other, place))
        other.save(free_path(other, place))
    assert len(list(tmp_path.iterdir())) == 3
    assert Result.from_json(place.read_text()) == result
    (tmp_path / "mine.json").write_text("[]")  # no result: somebody's own file
    assert free_path(result, tmp_path / "mine.json") != tmp_path / "mine.json"


def test_names_that_are_no_text_survive_the_file(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    result = replace(_result(), metrics={f"class/{name}/top1": 0.5}, settings={"classes": [name, "$x^{$", "é"]})
    path = result.save(tmp_path / "x.json")
    assert Result.from_json(path.read_text(encoding="utf-8")) == result
    assert "é" in path.read_text(encoding="utf-8")


def test_texts_beside_a_result_are_named_after_it_and_no_part_of_it(tmp_path):
    result = replace(_result(), beside={".txt": "0\n3\n"})
    path = result.save(tmp_path / "few-epoch=1.5.json")
    assert (tmp_path / "few-epoch=1.5.txt").read_text() == "0\n3\n"
    assert "beside" not in path.read_text()
    assert Result.from_json(path.read_text()) == result
