"""``sslbolts diagnose``: what it prints and writes."""

import csv
import json

import pytest
import torch

from sslbolts import SimCLR
from sslbolts.cli import main
from sslbolts.export import export_backbone

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}


@pytest.fixture
def checkpoint(tmp_path):
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4)
    content = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    method.on_save_checkpoint(content)
    torch.save(content, tmp_path / "simclr.ckpt")
    return tmp_path / "simclr.ckpt"


def test_numbers_confusions_and_their_picture_lie_beside_the_checkpoint(checkpoint, capsys):
    assert main(["diagnose", str(checkpoint), "--data", "CIFAR10Mini", "--max_images=64", "--device=cpu"]) == 0
    printed = capsys.readouterr().out
    for words in ("random guess", "g(h)", "rotation", "RankMe", "most often taken for", "airplane", "table 3"):
        assert words in printed
    folder = checkpoint.parent / "evaluation"
    result = json.loads((folder / "diagnose-CIFAR10Mini-simclr.json").read_text())
    assert result["protocol"] == "diagnose"
    assert result["settings"]["g(h)"] == "projector, 4 numbers"
    assert 0 <= result["metrics"]["h/knn/top1"] <= 1
    rows = list(csv.reader((folder / "diagnose-CIFAR10Mini-simclr-confusion.csv").open()))
    assert rows[0][1] == rows[1][0] == "airplane"
    assert [sum(map(int, row[1:])) for row in rows[1:]] == [100] * 10
    assert (folder / "diagnose-CIFAR10Mini-simclr-confusion.png").stat().st_size > 10_000


def test_an_exported_backbone_is_diagnosed_without_projector(checkpoint, capsys):
    backbone = export_backbone(checkpoint, checkpoint.parent / "backbone.safetensors")
    output = checkpoint.parent / "other" / "backbone.json"
    assert main(["diagnose", str(backbone), "--max_images=16", f"--output={output}", "--device=cpu"]) == 0
    assert "no projector" in capsys.readouterr().out
    assert json.loads(output.read_text())["source"] == str(backbone)
    assert not list((checkpoint.parent / "evaluation").glob("*.json"))
