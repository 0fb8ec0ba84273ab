"""``sslbolts evaluate`` judges a checkpoint, states its protocol, and leaves a file that the report reads."""

import json

import pytest

from sslbolts import SimCLR
from sslbolts.cli import main
from sslbolts.cli.evaluate import PROTOCOLS
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import Result, evaluate_knn, load_encoder
from tests.helpers.trainers import quiet_trainer

pytestmark = pytest.mark.usefixtures("few_images")

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8))
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_knn_prints_and_writes_what_python_finds(checkpoint, capsys):
    assert main(["evaluate", "knn", str(checkpoint), "--data", "CIFAR10Mini", "--device", "cpu", "--k", "5", "20"]) == 0
    file = checkpoint.parent / "evaluation" / "knn-CIFAR10Mini-last.json"
    written = Result.from_json(file.read_text())
    expected = evaluate_knn(load_encoder(checkpoint, device="cpu"), CIFAR10MiniDataModule(), k=[5, 20])
    assert (written.metrics, written.settings) == (expected.metrics, expected.settings)
    shown = capsys.readouterr().out
    assert f"{100 * written.metrics['top1']:.2f} %" in shown
    assert "mean: 0, 0, 0; std: 1, 1, 1" in " ".join(shown.split())  # SimCLR's images are in [0, 1]
    features = list((checkpoint.parent / "evaluation" / "features").glob("*.safetensors"))
    assert len(features) == 2


def test_other_layers_have_their_own_file(checkpoint, tmp_path):
    arguments = ["evaluate", "ridge", str(checkpoint), "--device=cpu", "--cache=none", "--layer=projector"]
    assert main(arguments) == 0
    file = checkpoint.parent / "evaluation" / "ridge-CIFAR10Mini-projector-last.json"
    assert json.loads(file.read_text())["settings"]["features"] == "4 of projector"
    assert main([*arguments, f"--output={tmp_path}/mine.json", "--data.in_chans=3"]) == 0
    assert (tmp_path / "mine.json").is_file()


def test_one_label_per_class_takes_the_settings_learning_rate_or_another(checkpoint, tmp_path):
    arguments = ["evaluate", "few-label", str(checkpoint), "--per_class=1", "--classifier=linear", "--epochs=1"]
    arguments += ["--device=cpu", f"--output={tmp_path}/few.json"]
    for given, lr in (([], "lr 0.1 "), (["--lr=0.25"], "lr 0.25 ")):
        assert main([*arguments, *given]) == 0
        assert lr in json.loads((tmp_path / "few.json").read_text())["settings"]["optimizer"]


def test_help_lists_every_protocol(capsys):
    assert main(["evaluate"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in PROTOCOLS)
    assert main(["evaluate", "knn", "--help"]) == 0
    assert "--temperature" in capsys.readouterr().out
