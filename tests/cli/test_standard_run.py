"""`sslbolts fit` without a configuration: the monitors, the folder, and the last lines."""

import csv
import json
import logging
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from sslbolts._lightning import LIGHTNING
from sslbolts.callbacks import KNNMonitor, OnlineLinearProbe, ViewAgreement
from sslbolts.cli import main
from sslbolts.cli.run import standard
from sslbolts.data import CIFAR10MiniDataModule, ImageFolderDataModule
from sslbolts.methods import get_method
from tests.cli.test_training import MODEL

SHORT = [
    *("--data.batch_size=8", "--data.num_workers=0", "--data.image_size=16", "--trainer.max_epochs=2"),
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]
TRAINER = Namespace(callbacks=None, logger=None, enable_checkpointing=None, barebones=False)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path, standard_run):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photos() -> Path:
    pixels = torch.randint(0, 256, (16, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Path("photos").mkdir()
    for number, photo in enumerate(pixels.numpy()):
        Image.fromarray(photo).save(f"photos/{number:02}.png")
    return Path("photos")


def test_a_folder_of_photos_is_all_that_it_takes(photos, capsys):
    assert main(["fit", *MODEL, "--data=ImageFolder", f"--data.root={photos}/", *SHORT]) == 0
    run = Path("runs/simclr_photos")
    names = {path.name for path in run.rglob("*")}
    assert {"last.ckpt", "metrics.csv", "config.yaml", "run.json", "augmentations-epoch0001.png"} <= names
    assert {"neighbors-epoch0002.png", "embedding-epoch0002.png"} <= names, "of training photos, as none are held out"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["simclr_photos"]
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for metric in ("train/loss", "agreement/top1", "agreement/top1/untrained", "collapse/std", "lr-LARS/pg1"):
        assert any(row[metric] for row in rows), metric
    *_, learned, judged, kept, report, export = capsys.readouterr().out.splitlines()
    assert learned == "SimCLR has trained for 2 epochs, 4 steps on 16 images."
    assert judged.startswith("Judged: agreement/top1 is ")
    assert kept == "Kept: checkpoint runs/simclr_photos/last.ckpt, metrics and pictures in runs/simclr_photos/."
    assert report.split() == ["sslbolts", "report", "runs/simclr_photos/"]
    assert export.split()[:3] == ["sslbolts", "export", "runs/simclr_photos/last.ckpt"]


def test_without_labels_and_held_out_images_views_are_compared(photos):
    names, left_out = chosen(ImageFolderDataModule(str(photos), num_workers=0))
    held_out = "no validation images (--data.val_fraction holds some out)"
    assert left_out == [f"KNNMonitor: no labels and {held_out}", "OnlineLinearProbe: no labels"]
    assert {"agreement", "neighbors", "embedding"} <= set(names)


def test_pictures_of_features_need_no_labels(photos):
    names, left_out = chosen(ImageFolderDataModule(str(photos), num_workers=0, val_fraction=0.25))
    assert left_out == ["KNNMonitor: no labels", "OnlineLinearProbe: no labels"]
    assert {"neighbors", "embedding", "agreement"} <= set(names)


def test_nothing_is_advertised():
    standard.without_advertising()
    record = logging.LogRecord("", 20, "", 0, "💡 Tip: For seamless cloud logging, try something", (), None)
    (hidden,) = {f for f in logging.getLogger(f"{LIGHTNING}.utilities.rank_zero").filters if not f(record)}
    assert hidden(logging.LogRecord("", 20, "", 0, "GPU available: False", (), None))


def printed_config(capsys, *arguments: str) -> dict:
    assert main(["fit", *arguments, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_monitors_are_shown_changed_and_taken_out_by_name(capsys):
    config = printed_config(capsys, *MODEL, "--monitors.knn.k=[5]", "--monitors.embedding=null")
    assert list(config["monitors"]) == list(standard.MONITORS)
    assert config["monitors"]["knn"]["init_args"]["k"] == [5]
    assert config["monitors"]["embedding"] is None
    assert config["trainer"]["logger"]["init_args"]["name"] == "simclr_cifar10mini"
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    assert printed_config(capsys, "--config=mine.yaml") == config


def test_a_configuration_has_what_it_says_and_nothing_else(capsys):
    Path("mine.yaml").write_text("model: {class_path: SimCLR}\n")
    config = printed_config(capsys, "--config=mine.yaml")
    assert set(config["monitors"].values()) == {None}
    assert config["trainer"]["logger"] is None


def chosen(data, *, method=None, **settings) -> tuple[list[str], list[str]]:
    monitors = {name: object.__new__(kind) for name, kind in standard.MONITORS.items()}
    method = method or get_method("SimCLR")("resnet18", backbone_kwargs=json.loads(MODEL[2].partition("=")[2]))
    found, left_out = standard.that_fit(monitors, Namespace(**vars(TRAINER) | settings), data=data, method=method)
    return [name for name, monitor in monitors.items() if monitor in found], left_out


def test_with_labels_they_are_used_and_nothing_is_left_out():
    names, left_out = chosen(CIFAR10MiniDataModule())
    assert set(standard.MONITORS) - set(names) == {"agreement"}
    assert left_out == []


def test_what_the_trainer_is_told_to_do_without_and_what_it_has_is_left_out():
    data = CIFAR10MiniDataModule()
    names, _ = chosen(data, logger=False, enable_checkpointing=False, callbacks=[KNNMonitor(k=3)])
    assert not {"learning_rate", "checkpoint", "knn"} & set(names)


def test_a_module_of_another_project_has_what_needs_no_features():
    names, left_out = chosen(object(), method=torch.nn.Linear(2, 2))
    assert (names, left_out) == (["preflight", "learning_rate", "checkpoint"], [])


def test_a_probe_takes_the_number_of_classes_from_the_data():
    probe = OnlineLinearProbe()
    probe.setup(Namespace(datamodule=CIFAR10MiniDataModule()), None, "fit")
    assert probe.num_classes == 10


def test_view_agreement_of_another_datamodule_is_refused():
    with pytest.raises(ValueError, match="draws the views of a DataModule of sslbolts"):
        ViewAgreement().on_fit_start(Namespace(datamodule=None), None)
