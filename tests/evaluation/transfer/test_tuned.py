"""Transfer by fine-tuning: the same splits and measures, baselines that are trained alike, draws of the seed alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from sslbolts import UsageError
from sslbolts.cli import main
from sslbolts.evaluation import Result, initialized, load_encoder
from sslbolts.evaluation.transfer import tuned
from sslbolts.evaluation.transfer.images import CroppedImages, PreparedImages, Rows
from sslbolts.evaluation.transfer.run import evaluate_transfer
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS, Splits
from tests.evaluation.transfer.test_transfer import fake_dtd, fake_voc
from tests.helpers.nets import SmallConvNet

FAST: dict[str, Any] = {"fine_tune": True, "image_size": 16, "epochs": 6, "lr": 0.05, "batch_size": 6}


@pytest.fixture
def encoder() -> Any:
    torch.manual_seed(7)
    return load_encoder(SmallConvNet(8, 16), device="cpu", image_size=16)


@pytest.fixture
def no_bars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The Trainers that are made, none of which shows a bar."""
    made: list[Any] = []
    whole = tuned.protocol_trainer

    def quietly(*args: Any, **settings: Any) -> Any:
        made.append(whole(*args, **settings, enable_progress_bar=False))
        return made[-1]

    monkeypatch.setattr(tuned, "protocol_trainer", quietly)
    return made


def test_a_network_is_fine_tuned_beside_the_same_one_drawn_anew(
    tmp_path: Path, encoder: Any, no_bars: list[Any]
) -> None:
    fake_dtd(tmp_path)
    before = encoder.backbone.layers[0].weight.clone()
    result = evaluate_transfer(encoder, ["dtd"], root=tmp_path, **FAST)
    assert result.protocol == "transfer-finetune"
    assert result.metrics["DTD/top1"] > 0.8, "three colors are soon told apart"
    row = result.rows[0]
    assert (row["train"], row["val"], row["test"]) == (12, 6, 9)
    assert row["%"] == round(100 * result.metrics["DTD/top1"], 2)
    assert row["Random init %"] == round(100 * result.metrics["DTD/Random init/top1"], 2)
    assert row["SimCLR ResNet-50, published"] == "none"
    assert torch.equal(encoder.backbone.layers[0].weight, before)
    assert all(trainer.max_epochs == 6 for trainer in no_bars)
    assert [trainer.global_step for trainer in no_bars] == [18, 18], "18 images in batches of 6, six times"

    drawn = initialized(encoder, "random", seed=0)
    alone = evaluate_transfer(drawn, ["dtd"], root=tmp_path, **FAST)
    assert alone.metrics["DTD/top1"] == result.metrics["DTD/Random init/top1"], "one seed, one result"
    networks = json.loads(result.to_json())["settings"]["networks"]
    assert networks["%"]["weights"] == encoder.digest[:16]
    assert networks["Random init"]["weights"] == drawn.digest[:16] != encoder.digest[:16]
    assert networks["Random init"]["source"] == "SmallConvNet (random, seed 0)"


def test_a_supervised_network_is_trained_alike_and_another_architecture_is_noted(
    tmp_path: Path, encoder: Any, no_bars: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dtd(tmp_path)
    for widths, noted in (((8, 16), False), ((8, 12), True)):
        weights = replace(
            load_encoder(SmallConvNet(*widths), device="cpu", image_size=16), source="timm/small.supervised"
        )
        monkeypatch.setattr(tuned, "load_encoder", lambda name, weights=weights, **_: weights)
        options = {**FAST, "epochs": 1, "supervised": "timm/small"}
        result = evaluate_transfer(encoder, ["dtd"], root=tmp_path, **options)
        assert result.settings["networks"]["supervised"]["source"] == "timm/small.supervised"
        assert 0 <= result.metrics["DTD/supervised/top1"] <= 1
        assert any("another architecture" in note for note in result.notes) == noted
        assert "Random init and supervised: measured here" in result.notes[0]


def test_of_several_rates_the_best_on_the_validation_images_is_taken(
    tmp_path: Path, encoder: Any, no_bars: list[Any]
) -> None:
    fake_dtd(tmp_path)
    diverging = 1e30
    result = evaluate_transfer(encoder, ["dtd"], root=tmp_path, **{**FAST, "lr": [diverging, 0.05]})
    row = result.rows[0]
    assert (row["lr"], row["Random init lr"]) == (0.05, 0.05)
    assert row["validation %"] > 80
    assert len(no_bars) == 2 * 3
    alone = evaluate_transfer(encoder, ["dtd"], root=tmp_path, **FAST)
    assert alone.metrics == result.metrics, "after the choice, all labels are trained on"
    with pytest.raises(UsageError, match="DTD has no number: the training of SmallConvNet has diverged"):
        evaluate_transfer(encoder, ["dtd"], root=tmp_path, **{**FAST, "lr": diverging})


@pytest.mark.parametrize(("on_val", "chosen"), [((0.1, 0.5, 0.5), 0.2), ((None, 0.0, None), 0.2), ((None,) * 3, 0.1)])
def test_of_equals_the_smaller_rate_is_taken(
    on_val: tuple[float | None, ...], chosen: float, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([*on_val, 0.7] * 2)
    monkeypatch.setattr(tuned.FineTuned, "_once", lambda *_: next(answers))
    common = {"size": 16, "normalize": "none", "batch_size": 4, "num_workers": 0, "seed": 0}
    made = tuned.FineTuned(encoder, settings=None, lr=[0.3, 0.1, 0.2], epochs=1, steps=None, supervised=None, **common)
    empty: Any = [0]
    found = made.measured(TRANSFER_SETS["DTD"], Splits(empty, empty, empty), 3)
    assert found[""] == tuned.Tuned(0.7, max(0.0 if value is None else value for value in on_val), chosen)


def test_images_with_several_labels_are_trained_by_known_labels(
    tmp_path: Path, encoder: Any, no_bars: list[Any]
) -> None:
    fake_voc(tmp_path)
    result = evaluate_transfer(encoder, ["voc2007"], root=tmp_path, **{**FAST, "epochs": None, "steps": 12})
    assert result.metrics["VOC2007/map_11point"] > 0.6
    assert [trainer.global_step for trainer in no_bars] == [12, 12]
    assert result.settings["steps"] == 12
    assert "epochs" not in result.settings

    module = tuned._SeveralLabels(SmallConvNet(8, 16), 3, settings="simclr", head_std=0.1)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    labels = torch.tensor([[1, 0, -1], [0, -1, 1], [-1, -1, -1], [1, 1, 0]])
    images = torch.rand(4, 3, 16, 16)
    likely = module(images).sigmoid().tolist()
    expected = 0.0
    for chances, row in zip(likely, labels.tolist(), strict=True):
        expected -= sum(np.log(p if label else 1 - p) for p, label in zip(chances, row, strict=True) if label >= 0)
    assert module.training_step((images, labels), 0).item() == pytest.approx(expected / 4, rel=1e-4)
    with pytest.raises(UsageError, match="without mixup, label_smoothing"):
        tuned._SeveralLabels(SmallConvNet(8, 16), 3, settings="simclr", mixup=0.8, label_smoothing=0.1)


def test_crops_are_drawn_from_seed_epoch_and_row_by_any_number_of_workers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    images = PreparedImages([(Image.fromarray(pixels), label) for label in range(5)], size=8)  # type: ignore[arg-type]
    batches = {}
    for workers, epoch in ((0, 0), (2, 0), (0, 1)):
        rows = Rows(5, seed=3)
        rows.set_epoch(epoch)
        crops = CroppedImages(images, size=8)
        torch.manual_seed(workers)
        batches[workers, epoch] = next(iter(DataLoader(crops, 5, sampler=rows, num_workers=workers)))
    first, workers, later = batches.values()
    assert torch.equal(first[0], workers[0])
    assert torch.equal(first[1], workers[1])
    assert sorted(later[1].tolist()) == [0, 1, 2, 3, 4]
    assert not torch.equal(first[0], later[0])


def test_weights_that_nothing_draws_leave_the_baseline_out_and_are_noted(tmp_path: Path, no_bars: list[Any]) -> None:
    class Scale(nn.Module):
        num_features = 3

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * self.scale

    fake_dtd(tmp_path)
    network = load_encoder(Scale(), device="cpu", image_size=16)
    result = evaluate_transfer(network, ["dtd"], root=tmp_path, **{**FAST, "epochs": 1})
    assert result.metrics.keys() == {"DTD/top1"}
    assert "Random init is left out: Scale has no rule" in result.notes[0]


def test_what_is_of_fine_tuning_is_refused_elsewhere(tmp_path: Path, encoder: Any) -> None:
    with pytest.raises(UsageError, match="steps=5 is of fine-tuning"):
        evaluate_transfer(encoder, ["dtd"], root=tmp_path, steps=5)
    for options, words in (
        ({"epochs": 2, "steps": 3}, "epochs=2 and steps=3: give one"),
        ({"settings": "simcrl"}, 'Did you mean "simclr"'),
        ({"lr": [0.1, -1.0]}, "lr=-1"),
        ({"lr": []}, "at least one learning rate"),
        ({"supervised": "runs/a.ckpt"}, "it is timm/NAME or torchvision/NAME"),
        ({"cache": tmp_path}, "fine-tuning uses none"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate_transfer(encoder, ["dtd"], root=tmp_path, fine_tune=True, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="leave layer out"):
        evaluate_transfer(replace(encoder, layer="projector"), ["dtd"], root=tmp_path, fine_tune=True)


def test_the_command_prints_both_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dtd(tmp_path)
    output = tmp_path / "table.json"
    options = ["--root", str(tmp_path), "--image_size=32", "--num_workers=0", "--device=cpu", f"--output={output}"]
    argv = ["transfer", "timm/resnet10t", "--untrained", "--datasets", "dtd", *options, "--fine-tune", "--steps=2"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "Random init" in printed
    result = Result.from_json(output.read_text())
    assert result.settings["networks"]["Random init"]["source"] == "timm/resnet10t (random, seed 0)"
    assert result.metrics.keys() == {"DTD/top1", "DTD/Random init/top1"}
