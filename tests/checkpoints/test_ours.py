"""Class, arguments, images and weights of a checkpoint of ours."""

import enum

import pytest
import torch

from sslbolts import BYOL, SimCLR, UsageError
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import load_encoder
from tests.helpers.trainers import quiet_trainer


class Mode(enum.Enum):
    FAST = 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    method = BYOL("resnet10t", stem="cifar", hidden_dim=8, output_dim=4)
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=4, views="byol"))
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    trainer.save_checkpoint(path)
    return method, path


def test_a_checkpoint_says_what_made_it(trained):
    method, path = trained
    checkpoint = Checkpoint.read(path)
    assert checkpoint.is_ours
    assert checkpoint.find_class(BYOL) is BYOL
    assert {"backbone": "resnet10t", "stem": "cifar", "output_dim": 4}.items() <= checkpoint.arguments.items()
    assert checkpoint.left_out == []
    data = CIFAR10MiniDataModule
    known = checkpoint.preprocessing
    assert (known.image_size, known.mean, known.std, known.in_chans) == (32, data.pixel_mean, data.pixel_std, 3)
    state = method.state_dict()
    assert state.keys() == checkpoint.weights.keys()
    assert all(torch.equal(tensor, checkpoint.weights[name]) for name, tensor in state.items())


def test_a_checkpoint_names_no_other_file_or_draw_to_start_from(tmp_path):
    path = tmp_path / "last.ckpt"
    kwargs = {"layers": [1, 1, 1, 1], "pretrained": True, "checkpoint_path": "elsewhere.pth", "zero_init_last": False}
    hparams = {"backbone": "resnet18", "backbone_kwargs": kwargs, "temperature": 0.5, "zero_init_residual": True}
    torch.save({"state_dict": {}, "hyper_parameters": hparams, "sslbolts_class": "sslbolts.SimCLR"}, path)
    assert Checkpoint.read(path).arguments_for(SimCLR) == {
        "backbone": "resnet18",
        "backbone_kwargs": {"layers": [1, 1, 1, 1]},
        "temperature": 0.5,
    }


def test_an_argument_that_is_an_object_is_left_out_and_the_backbone_still_read(trained, tmp_path):
    content = torch.load(trained[1], weights_only=True)
    content["hyper_parameters"]["output_dim"] = Mode.FAST
    torch.save(content, tmp_path / "last.ckpt")
    checkpoint = Checkpoint.read(tmp_path / "last.ckpt")
    assert checkpoint.left_out == ["output_dim"]
    assert "output_dim" not in checkpoint.arguments
    encoder = load_encoder(tmp_path / "last.ckpt", device="cpu")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder.network(images), trained[0].eval()(images))
    with pytest.raises(UsageError, match="has no layer"):
        load_encoder(tmp_path / "last.ckpt", layer="projector", device="cpu")
