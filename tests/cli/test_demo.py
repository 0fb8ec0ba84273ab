"""``sslbolts demo`` in one epoch: everything it promises is there."""

import pytest
import timm
import torch

import sslbolts
from sslbolts.cli.demo import RESNET10
from sslbolts.cli.main import main

pytestmark = pytest.mark.usefixtures("few_images")


def test_demo_leaves_table_pictures_checkpoint_and_a_backbone_that_timm_loads(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["demo", "--epochs", "1", "--folder", str(folder)]) == 0
    printed = capsys.readouterr().out
    for word in ("raw pixels", "untrained network", "SimCLR", "timm.create_model"):
        assert word in printed
    for name in ("curves.png", "neighbors.png", "augmentations.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    weights = folder / "backbone.safetensors"
    from_timm = timm.create_model("resnet18", num_classes=0, checkpoint_path=str(weights), **RESNET10).eval()
    trained = sslbolts.load_backbone(folder / "simclr.ckpt")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(from_timm(images), trained(images), rtol=1e-4, atol=1e-4)


def test_a_second_demo_keeps_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sslbolts.cli.demo.draw", lambda *_: None)
    monkeypatch.setattr("sslbolts.cli.demo.RESNET10", {**RESNET10, "channels": [8, 8, 8, 8], "stem_width": 4})
    folder = tmp_path / "run"
    argv = ["demo", "--epochs", "1", "--folder", str(folder)]
    assert main(argv) == 0
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"metrics.csv", "run.json", "simclr.ckpt", "backbone.safetensors"} <= set(first)
    assert main([*argv, "--seed", "1"]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "run-1").iterdir()} == first
    assert (folder / "simclr.ckpt").read_bytes() != first["simclr.ckpt"]
    assert "is kept as" in capsys.readouterr().out


def test_demo_refuses_no_epochs(capsys):
    assert main(["demo", "--epochs", "0"]) == 2
    assert "at least one pass" in capsys.readouterr().err
