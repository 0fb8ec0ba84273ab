"""``sslbolts pictures``: of any network, from the command line."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from sslbolts import SimCLR
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.cli.main import main
from sslbolts.data import DatasetDataModule
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


def test_size_and_range_of_the_record_are_used_or_their_difference_is_said(tmp_path, capsys):
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 4000, (12, 1, 16, 16), generator=drawn).to(torch.int16)
    (tmp_path / "deep").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image[0].numpy().astype(np.uint16)).save(tmp_path / "deep" / f"{number}.png")
    deep = DatasetDataModule(TensorDataset(pixels), in_chans=1, value_range=(0, 4095), image_size=16, batch_size=4)
    run = trainer(default_root_dir=tmp_path, max_epochs=0)
    run.strategy.connect(SimCLR("resnet18", hidden_dim=8, output_dim=4, in_chans=1))
    run._data_connector.attach_datamodule(run.lightning_module, deep)
    run.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    known = Checkpoint.read(tmp_path / "last.ckpt").preprocessing
    assert (known.image_size, known.value_range) == (16, ((0.0, 4095.0),))
    argv = ["pictures", str(tmp_path / "last.ckpt"), *FEW[:-1], "--what=clusters", "--data=ImageFolder"]
    argv += [f"--data.root={tmp_path / 'deep'}", "--data.in_chans=1", f"--output={tmp_path / 'out'}"]
    assert main([*argv, "--data.value_range=[0,4095]"]) == 0
    said = capsys.readouterr().out
    assert "was trained on images of" not in said, "they are of the record's size"
    assert "value_range" not in said
    assert main([*argv, "--data.value_range=[0,65535]", "--data.image_size=24"]) == 0
    said = capsys.readouterr().out
    assert "the network was trained on images of 16 pixels, and sees images of 24 here." in said
    assert "values of 0 to 4095 were 0 to 1 in training (value_range), and here values of 0 to 65535 are." in said
    with pytest.warns(UserWarning, match="values of 0 to 4095 were 0 to 1 in training"):
        DatasetDataModule(TensorDataset(pixels), in_chans=1, value_range=(0, 4000), image_size=16).load_state_dict(
            deep.state_dict()
        )
