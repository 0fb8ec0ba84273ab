"""``sslbolts pictures``: of any network, from the command line."""

import pytest
from PIL import Image

from sslbolts import SimCLR
from sslbolts.cli.main import main
from tests.callbacks.host import trainer

FEW = ["--images=12", "--bank=12", "--rows=2", "--device=cpu", "--untrained"]


def test_everything_that_applies_is_drawn(tmp_path, capsys):
    assert main(["pictures", "torchvision/resnet18", *FEW, f"--output={tmp_path}"]) == 0
    written = {path.stem for path in tmp_path.iterdir()}
    assert written == {"neighbors", "embedding", "clusters"}  # a ResNet does not attend
    said = capsys.readouterr().out
    for name in written:
        assert f"{name}.png" in said
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 150


def test_the_views_of_the_data(tmp_path):
    argv = ["pictures", "torchvision/resnet18", *FEW, "--what=augmentations", f"--output={tmp_path}"]
    assert main([*argv, "--data.views=byol"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["augmentations.png"]


def test_attention_of_a_transformer_with_images_of_its_size(tmp_path):
    argv = ["pictures", "timm/vit_tiny_patch16_224", *FEW, "--what=attention", f"--output={tmp_path}"]
    assert main([*argv, "--data.image_size=64"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["attention.png"]


def test_the_report_shows_what_was_drawn_of_a_checkpoint(tmp_path):
    run = trainer(default_root_dir=tmp_path, max_epochs=0)
    run.strategy.connect(SimCLR("resnet18", hidden_dim=8, output_dim=4))
    run.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    drawn = ["pictures", str(tmp_path / "checkpoints" / "last.ckpt"), *FEW[:-1], "--what=clusters"]
    assert main([*drawn, "--data=CIFAR10Mini"]) == 0
    assert main(["report", str(tmp_path)]) == 0
    assert "Clusters, checkpoint" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["timm/resnet18", "--what=neigbors"], 'Did you mean "neighbors"?'),
        (["timm/resnet18", "--what=,"], "--what names no picture"),
        (["timm/resnet18", *FEW, "--what=attention"], "has no attention to draw"),
        (["timm/resnet18", "--rows=0"], "--rows 0: it must be in 1 to 32."),
        (["nowhere.ckpt"], "nowhere.ckpt"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(argv, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["pictures", *argv]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
