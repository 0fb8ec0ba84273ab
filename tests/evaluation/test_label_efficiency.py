"""Label efficiency: the same images and as many steps at every number of labels, in one table and one picture."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from sslbolts import UsageError
from sslbolts.cli import main
from sslbolts.cli.evaluate import _picture
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import (
    Result,
    evaluate_few_label,
    evaluate_finetune,
    evaluate_label_efficiency,
    initialized,
    label_efficiency,
    load_encoder,
)
from sslbolts.evaluation.few_label import read_rows
from sslbolts.pictures.label_efficiency import draw_label_efficiency
from tests.evaluation.fine_tuning.test_run import STATISTICS, colored
from tests.helpers.few_images import use_few_images
from tests.helpers.nets import SmallConvNet


def module(**settings: Any) -> DatasetDataModule:
    known = {"num_classes": 3, "batch_size": 12, "num_workers": 0, "in_memory": True, **STATISTICS, **settings}
    return DatasetDataModule(colored(60), val=colored(33, seed=1), **known)


def encoder() -> Any:
    torch.manual_seed(0)
    return load_encoder(SmallConvNet(8, 16), image_size=32, device="cpu")


def test_both_see_the_same_images_and_the_smaller_numbers_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Any]] = {"features": [], "scratch": [], "steps": []}
    on_features, finetune = label_efficiency.on_few_features, label_efficiency.evaluate_finetune

    def spied_features(splits: Any, rows: Any, **settings: Any) -> Any:
        found = on_features(splits, rows, **settings)
        seen["features"].append(splits.y[torch.isin(splits.indices, rows)].tolist())
        seen["rows"] = [*seen.get("rows", []), rows.tolist()]
        return found

    def spied_training(network: Any, data: Any, *, rows: Any, **settings: Any) -> Any:
        seen["scratch"].append(rows.tolist())
        seen["steps"].append(settings["steps"])
        return finetune(network, data, rows=rows, **settings)

    monkeypatch.setattr(label_efficiency, "on_few_features", spied_features)
    monkeypatch.setattr(label_efficiency, "evaluate_finetune", spied_training)
    result = evaluate_label_efficiency(encoder(), module(), per_class=[1, 4, 10], steps=3, progress=False)
    assert seen["rows"] == seen["scratch"]
    assert [len(rows) for rows in seen["scratch"]] == [3, 12, 30]
    first, second, third = map(set, seen["scratch"])
    assert first < second < third
    assert [sorted(labels) for labels in seen["features"]] == [sorted([0, 1, 2] * count) for count in (1, 4, 10)]
    assert seen["steps"] == [3, 3, 3]
    lists = {name: [int(line) for line in text.splitlines()[1:]] for name, text in result.beside.items()}
    assert lists == {f".{count}.txt": rows for count, rows in zip((1, 4, 10), seen["scratch"])}


def test_a_row_is_what_the_two_protocols_find_alone(tmp_path: Path) -> None:
    result = evaluate_label_efficiency(
        encoder(), module(), per_class=(2, 8), steps=12, seed=3, cache=tmp_path, lr=0.05, progress=False
    )
    for row in result.rows:
        few = evaluate_few_label(encoder(), module(), per_class=row["labels per class"], seed=3)
        rows = torch.tensor([int(line) for line in few.beside[".txt"].splitlines()[1:]])
        drawn = initialized(encoder(), "random", seed=3)
        scratch = evaluate_finetune(
            drawn, module(), settings="rotnet_supervised", rows=rows, steps=12, seed=3, lr=0.05, progress=False
        )
        assert row["self-supervised top1"] == few.metrics["top1"]
        assert row["from scratch top1"] == scratch.metrics["top1"]
        assert row["images"] == len(rows)
        assert result.metrics[f"self-supervised/{row['labels per class']}/top1"] == few.metrics["top1"]
        assert result.metrics[f"from scratch/{row['labels per class']}/top1"] == scratch.metrics["top1"]
    stated = result.settings["from scratch"]
    assert (stated["lr"], stated["steps"], stated["settings"]) == (0.05, 12, "rotnet_supervised, with lr changed")
    # Batches of 12: six images are one step and 24 are two, so that twelve steps are as many passes, and half of that.
    assert stated["passes over the labeled images"] == {"2": 12.0, "8": 6.0}
    assert "random, seed 3" in stated["network"]
    assert len(list(tmp_path.iterdir())) == 2, "features of training and test images, once"
    assert "12 steps at every number of labels; the paper's are about 78,000" in result.notes[0]


def test_from_scratch_it_learns_too() -> None:
    result = evaluate_label_efficiency(encoder(), module(), per_class=[20], steps=40, lr=0.05, progress=False)
    assert result.metrics["from scratch/20/top1"] > 0.9


def test_the_picture_has_the_numbers_of_the_table() -> None:
    rows = [
        {"labels per class": 20, "images": 200, "self-supervised top1": 0.61, "from scratch top1": 0.3},
        {"labels per class": 1000, "images": 10000, "self-supervised top1": 0.75, "from scratch top1": 0.812},
    ]
    figure = _picture("label-efficiency", Result("label-efficiency", "a/b.ckpt", "CIFAR10", {}, rows=rows))
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "1,000"]
    for line, values in zip(axes.lines, ([61, 75], [30, 81.2])):
        assert list(line.get_xdata()) == [20, 1000]
        assert list(line.get_ydata()) == pytest.approx(values)
    assert {text.get_text() for text in axes.texts} == {"self-supervised  75.0", "from scratch  81.2"}
    assert _picture("knn", Result("knn", "a", "b", {})) is None
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_label_efficiency([], {})
    with pytest.raises(UsageError, match='"a" has 1 accuracies, for 2 numbers'):
        draw_label_efficiency([1, 2], {"a": [0.5]})


def test_the_command_writes_the_table_the_picture_and_the_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_few_images(monkeypatch, train=100, test=50)
    argv = ["evaluate", "label-efficiency", "timm/resnet10t", "--untrained", "--device=cpu", "--cache=none"]
    argv += ["--per_class", "1", "2", "--steps=1", "--data.batch_size=8", "--data.image_size=32"]
    assert main([*argv, f"--output={tmp_path}/curve.json"]) == 0
    result = Result.from_json((tmp_path / "curve.json").read_text())
    assert [list(row) for row in result.rows] == [
        ["labels per class", "images", "self-supervised top1", "from scratch top1"]
    ] * 2
    shown = capsys.readouterr().out
    assert f"{100 * result.rows[1]['from scratch top1']:.2f} %" in shown
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert len(read_rows(tmp_path / "curve.2.txt")) == 20
    assert f"{tmp_path}/curve.png" in "".join(shown.split("\n"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_class": []}, "per_class is empty"),
        ({"per_class": [0, 2]}, "per_class=0: it must be a whole number of at least 1"),
        ({"per_class": [4, 2]}, "per_class=4, 2: the numbers of labels must ascend"),
        ({"per_class": [2, 2]}, "per_class=2, 2: the numbers of labels must ascend, each given once"),
        ({"per_class": [2, 21]}, "class 0 has only 20 training images"),
        ({"steps": 0}, "steps=0: it must be a whole number"),
        ({"epochs": 3}, "give steps= in place of epochs="),
        ({"classifier": "finetune"}, "one of logistic, linear"),
        ({"settings": "rotnet"}, 'no settings "rotnet" of fine-tuning'),
        ({"momentum": 0.5}, 'have no "momentum"'),
    ],
)
def test_wrong_values_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_label_efficiency(encoder(), module(), **{"per_class": [2], **settings}, progress=False)


def test_data_without_labels_are_named() -> None:
    images = TensorDataset(torch.zeros(12, 3, 32, 32, dtype=torch.uint8))
    data = DatasetDataModule(images, val=colored(6), num_classes=3, batch_size=4, num_workers=0, **STATISTICS)
    with pytest.raises(UsageError, match="label"):
        evaluate_label_efficiency(encoder(), data, per_class=[1])


def test_a_drawn_network_can_be_drawn_again() -> None:
    named = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
    first = initialized(named, "random", seed=1)
    again = initialized(first, "random", seed=1)
    assert (
        (again.source, again.digest)
        == (first.source, first.digest)
        == ("timm/resnet10t (random, seed 1)", again.digest)
    )
