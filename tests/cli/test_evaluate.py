"""``sslbolts evaluate`` judges a checkpoint, states its protocol, and leaves a file that the report reads."""

import html
import json
import shutil

import pytest
import torch
from PIL import Image

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


@pytest.fixture
def folders(tmp_path):
    """Two folders of eight images of two classes each, which differ in nothing but what is in them."""
    drawn = torch.Generator().manual_seed(0)
    for folder in ("day", "night"):
        for number in range(8):
            path = tmp_path / folder / f"class{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(0, 256, (32, 32, 3), generator=drawn, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(path)
    return tmp_path


def _of(folder):
    """Options: half of a folder's images to learn from, the others to measure on."""
    return ["--data=ImageFolder", f"--data.root={folder}", "--data.val_fraction=0.5", "--data.image_size=32",
            "--device=cpu"]  # fmt: skip


def test_numbers_of_two_folders_stand_beside_each_other(checkpoint, folders, capsys):
    """Each says which folder was judged, and so does what belongs to it."""
    run = folders / "run"
    run.mkdir()
    own = str(shutil.copy(checkpoint, run / "last.ckpt"))
    for which in ("day", "night", "day"):
        assert main(["evaluate", "few-label", own, *_of(folders / which), "--per_class=1", "--cache=none"]) == 0
    written = sorted((run / "evaluation").glob("few-label*.json"))
    data = [json.loads(path.read_text())["settings"]["data"] for path in written]
    assert {entry["folder"] for entry in data} == {str(folders / "day"), str(folders / "night")}
    assert {entry["images"] for entry in data} == {"bank 4, test 4"}
    assert len({entry["fingerprint"] for entry in data}) == len(written) == 2
    lists = [path.with_suffix(".txt").read_text() for path in written]
    assert all(text.startswith("# rows of the training data set") for text in lists)
    assert len(list((run / "evaluation").iterdir())) == 4
    for which in ("day", "night"):
        assert main(["pictures", own, *_of(folders / which), "--what=clusters"]) == 0
    assert len(list((run / "pictures").iterdir())) == 2
    assert main(["report", str(run)]) == 0
    page = html.unescape((run / "report.html").read_text())
    for which in ("day", "night"):
        assert f"few-label-1-per-class on ImageFolder (data: {_end(folders / which)})" in page
    assert page.count("Clusters") >= 2
    capsys.readouterr()


def _end(path):
    text = str(path)
    return text if len(text) <= 60 else f"…{text[-59:]}"


@pytest.mark.parametrize(
    ("verb", "options"),
    [(["evaluate", "knn"], []), (["evaluate", "few-label"], ["--per_class=1"]), (["diagnose"], ["--max_images=8"])],
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(verb, options, checkpoint, folders, capsys):
    """In place of the folder of results stands a file. What fails later is in test_disks.py."""
    run = folders / "run"
    run.mkdir()
    own = shutil.copy(checkpoint, run / "last.ckpt")
    (run / "evaluation").write_text("")
    argv = [*verb, str(own), *_of(folders / "day"), *options]
    assert main(argv) == 2
    said = capsys.readouterr()
    assert "top1" not in said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "cannot be written" in line
    assert str(run / "evaluation") in line
    assert (run / "evaluation").read_text() == ""
    assert main([*argv, "--cache=none", f"--output={folders / 'elsewhere' / 'x.json'}"]) == 0
    assert (folders / "elsewhere" / "x.json").is_file()
