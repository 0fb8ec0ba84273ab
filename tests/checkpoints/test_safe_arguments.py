"""A file says what network it is of, and cannot make its reader open anything else."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sslbolts import Distillation, SimCLR, UsageError, export_backbone, load_backbone
from sslbolts.checkpoints.safe_arguments import arguments_of_shape
from sslbolts.evaluation import load_encoder
from sslbolts.export import backbone_spec
from tests.helpers.trainers import quiet_trainer

ELSEWHERE = {  # each would be opened or fetched by timm or torchvision
    "pretrained": True,
    "pretrained_cfg": {"file": "/nowhere/trap.pth"},
    "pretrained_cfg_overlay": {"file": "/nowhere/trap.pth"},
    "checkpoint_path": "/nowhere/trap.pth",
    "cache_dir": "/nowhere",
    "weights": "DEFAULT",
    "weights_backbone": "DEFAULT",
}


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return SimCLR("resnet10t", stem="cifar", hidden_dim=8, output_dim=4)


def _saved(method, path, **hparams):
    trainer = quiet_trainer()
    trainer.strategy.connect(method)
    trainer.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"] |= hparams
    torch.save(checkpoint, path)
    return path


def test_an_exported_file_opens_no_other(method, tmp_path):
    file = export_backbone(method, tmp_path / "ours.safetensors")
    spec = {"backbone": "resnet10t", "stem": "cifar", "backbone_kwargs": {**ELSEWHERE, "drop_rate": 0.1}}
    save_file(load_file(file), tmp_path / "theirs.safetensors", metadata={"sslbolts": json.dumps(spec)})
    loaded = load_backbone(tmp_path / "theirs.safetensors")
    assert torch.equal(loaded.conv1.weight, method.backbone.conv1.weight)
    assert loaded.drop_rate == 0.1
    assert backbone_spec(tmp_path / "theirs.safetensors")["backbone_kwargs"] == {"drop_rate": 0.1}


@pytest.mark.parametrize("read", [load_backbone, lambda path: load_encoder(path, device="cpu").backbone])
def test_a_checkpoint_opens_no_other(read, method, tmp_path):
    path = _saved(method, tmp_path / "method.ckpt", backbone_kwargs={**ELSEWHERE, "drop_rate": 0.1})
    assert torch.equal(read(path).conv1.weight, method.backbone.conv1.weight)


@pytest.mark.parametrize(
    "teacher", [{"backbone": "resnet10t", "backbone_kwargs": {"checkpoint_path": "/nowhere/trap.pth"}}, "resnet10t"]
)
def test_neither_does_the_teacher_of_a_checkpoint(teacher, tmp_path, monkeypatch):
    method = Distillation("resnet10t", teacher={"backbone": "resnet10t"})
    path = _saved(method, tmp_path / "method.ckpt", teacher=teacher)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load_encoder(path, device="cpu")
    assert torch.equal(encoder.network.root.teacher.network.conv1[0].weight, method.teacher.network.conv1[0].weight)
    with pytest.raises(UsageError, match=r'no backbone "/nowhere/trap\.ckpt"'):
        load_encoder(_saved(method, tmp_path / "trap.ckpt", teacher="/nowhere/trap.ckpt"), device="cpu")


def test_what_a_method_was_started_from_is_not_written(tmp_path):
    method = SimCLR("resnet10t", stem="cifar", hidden_dim=8, output_dim=4)
    method.hparams["backbone_kwargs"] = {**ELSEWHERE, "drop_rate": 0.1}
    with safe_open(export_backbone(method, tmp_path / "ours.safetensors"), framework="pt") as stored:
        assert json.loads(stored.metadata()["sslbolts"])["backbone_kwargs"] == {"drop_rate": 0.1}


def test_the_form_of_a_network_is_kept():
    form = {
        "img_size": (32, 64),
        "drop_path_rate": 0.1,
        "global_pool": "avg",
        "act_layer": "gelu",
        "weight_init": "jax",
        "replace_stride_with_dilation": [False, True, True],
        "aa_layer": None,
        "attn_kwargs": {"num_heads": 3},
    }
    assert arguments_of_shape({**form, **ELSEWHERE}) == form
    assert arguments_of_shape(None) == {}


@pytest.mark.parametrize(
    "arguments", [{"act_layer": "../trap.pth"}, {"act_layer": torch.nn.GELU}, {"args": {"checkpoint_path": "x"}}, [1]]
)
def test_anything_else_is_refused(arguments):
    with pytest.raises(UsageError, match=r"backbone_kwargs .*of a file"):
        arguments_of_shape(arguments)
