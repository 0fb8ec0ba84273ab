"""The fine-tuning protocol on a DataModule and from the command line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from sslbolts import UsageError
from sslbolts.cli import main
from sslbolts.data import DatasetDataModule
from sslbolts.evaluation import Result, features_of, load_encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.fine_tuning.fine_tune import FineTune
from sslbolts.evaluation.fine_tuning.run import evaluate_finetune
from sslbolts.evaluation.labeled_crops import labeled_crops
from sslbolts.evaluation.protocol_trainer import protocol_trainer, saved
from sslbolts.transforms.preprocessing import Preprocessing
from tests.helpers.nets import SmallConvNet

STATISTICS = {"views": "moco_v2", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def colored(count: int, *, seed: int = 0) -> TensorDataset:
    """Noise in which the brightest of three channels is the class."""
    noise = torch.randint(0, 120, (count, 3, 32, 32), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    targets = torch.arange(count) % 3
    noise[torch.arange(count), targets] += 100
    return TensorDataset(noise, targets)


def module(**settings: Any) -> DatasetDataModule:
    known = {"num_classes": 3, "batch_size": 12, "num_workers": 0, "in_memory": True, **STATISTICS, **settings}
    return DatasetDataModule(colored(96), val=colored(33, seed=1), **known)


def encoder() -> Any:
    torch.manual_seed(0)
    return load_encoder(SmallConvNet(), image_size=32, device="cpu")


def test_a_network_is_fine_tuned_and_measured_once_on_the_held_out_images() -> None:
    result = evaluate_finetune(encoder(), module(), settings="swav_10pct", epochs=3, lr=0.05, progress=False)
    assert result.metrics["top1"] > 0.9
    assert result.settings["epochs"] == 3
    assert "epochs, lr changed" in result.settings["settings"]
    assert result.settings["images"] == '96 labeled of "train", judged on 33 of "test"'
    again = evaluate_finetune(encoder(), module(), settings="swav_10pct", epochs=3, lr=0.05, progress=False)
    assert again.metrics == result.metrics, "one seed, one result"


@pytest.mark.parametrize("in_memory", [True, False])
def test_only_labeled_images_are_trained_on_and_the_datamodule_stays(in_memory: bool) -> None:
    data = module(labels_per_class=4) if in_memory else module(in_memory=False)
    rows = None if in_memory else torch.arange(36, 48)
    crops = labeled_crops(EncodedData(encoder(), data), rows=rows, seed=0)
    assert crops.num_train_images == 12
    batch = next(iter(crops.train_dataloader()))
    batch = crops.on_after_batch_transfer(batch, 0)
    assert [tuple(view.shape) for view in batch.views] == [(12, 3, 32, 32)]
    assert torch.bincount(batch.targets).tolist() == [4, 4, 4]
    assert len(data.views.views) == 2
    assert data.num_train_images == 96


def test_images_are_normalized_as_the_network_wants_them() -> None:
    from dataclasses import replace

    wanting = replace(encoder(), preprocessing=Preprocessing(None, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    crops = labeled_crops(EncodedData(wanting, module()), seed=0)
    assert (crops.mean, crops.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    images, _, _ = crops.on_after_batch_transfer(next(iter(crops.test_dataloader())), 0)
    pixels = colored(33, seed=1).tensors[0][:12].float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (crops.mean, crops.std))
    expected = (pixels - mean) / std
    torch.testing.assert_close(images, expected)


def test_the_encoder_keeps_the_weights_whose_features_are_cached(tmp_path: Path) -> None:
    network, data = encoder(), module()
    before = features_of(network, data, "bank", cache=tmp_path).features
    evaluate_finetune(network, data, settings="swav_10pct", epochs=1, lr=0.1, progress=False)
    assert torch.equal(features_of(network, data, "bank").features, before)
    assert torch.equal(features_of(network, data, "bank", cache=tmp_path).features, before)


def test_images_of_another_size_than_the_networks_are_noted() -> None:
    from dataclasses import replace

    for size, notes in ((32, 1), (64, 2)):
        wanting = replace(encoder(), preprocessing=Preprocessing(size))
        result = evaluate_finetune(wanting, module(), settings="swav_10pct", epochs=1, progress=False)
        assert len(result.notes) == notes
    assert "trained on images of 64 pixels" in result.notes[1]


def test_crops_are_interpolated_as_the_settings_say() -> None:
    for settings, how in (("swav_10pct", "bilinear"), ("simclr", "bicubic")):
        result = evaluate_finetune(encoder(), module(), settings=settings, epochs=1, progress=False)
        assert how in result.settings["preprocessing"]["training"]


def test_what_cannot_be_fine_tuned_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="needs a DataModule"):
        evaluate_finetune(encoder(), colored(4))

    with pytest.raises(UsageError, match="leave layer out"):
        evaluate_finetune(replace(encoder(), layer="projector"), module())
    with pytest.raises(UsageError, match="filters its images"):
        evaluate_finetune(replace(encoder(), preprocessing=Preprocessing(in_chans=1)), module())
    unlabeled = DatasetDataModule(colored(24).tensors[0], num_classes=3, batch_size=8, num_workers=0)  # type: ignore
    with pytest.raises(UsageError, match="no labeled training images"):
        evaluate_finetune(encoder(), unlabeled)


def test_a_checkpoint_that_cannot_be_written_costs_no_numbers(tmp_path: Path) -> None:
    trainer = protocol_trainer(torch.device("cpu"), max_epochs=0)
    trainer.strategy.connect(FineTune(SmallConvNet(), 3, settings="simclr"))
    assert saved(trainer, None) == []
    assert saved(trainer, tmp_path / "tuned.ckpt") == []
    with pytest.warns(UserWarning, match="could not be written"):
        (note,) = saved(trainer, tmp_path / "tuned.ckpt" / "deeper.ckpt")
    assert str(tmp_path / "tuned.ckpt" / "deeper.ckpt") in note


@pytest.mark.usefixtures("few_images")
def test_the_command_fine_tunes_the_packaged_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--data.labels_per_class=2", "--data.batch_size=10", "--data.eval_batch_size=500", "--data.num_workers=0"]
    data = ["--data=CIFAR10Mini", "--data.image_size=32", *few]
    argv = ["evaluate", "finetune", "timm/resnet10t", "--untrained", "--device", "cpu", *data, "--epochs", "1"]
    output = tmp_path / "result.json"
    assert main([*argv, "--save", str(tmp_path / "tuned.ckpt"), "--output", str(output)]) == 0
    assert "top1" in capsys.readouterr().out
    result = Result.from_json(output.read_text())
    assert result.settings["images"].startswith("20 labeled")
    assert "head.weight" in torch.load(tmp_path / "tuned.ckpt", weights_only=True)["state_dict"]
    assert main([*argv, "--settings", "swav"]) == 2
    assert main([*argv, "--layer_decay", "2"]) == 2
