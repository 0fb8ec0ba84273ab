"""The backbone out of a method, and back, into ours and into timm."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sslbolts import BYOL, DeepCluster, SimCLR, UsageError, export_backbone, load_backbone
from sslbolts.networks.backbones import create_backbone
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def _agree(network: nn.Module, reference: nn.Module) -> None:
    """Equal weights, and features equal but for the order of sums, which follows the memory layout."""
    ours, expected = network.state_dict(), reference.state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.items())
    images = IMAGES[:, : next(p for p in network.parameters() if p.dim() == 4).shape[1]]
    torch.testing.assert_close(network(images), reference.eval()(images), rtol=1e-4, atol=1e-6)


def _trained(module: SimCLR | BYOL, folder: Path) -> Path:
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, noise_loader(4, 4, (32, 32)))
    trainer.save_checkpoint(folder / "method.ckpt")
    return folder / "method.ckpt"


@pytest.mark.filterwarnings("ignore:the backbone's first layer")
def test_timm_loads_the_file_alone(tmp_path):
    import timm

    module = SimCLR("resnet10t", hidden_dim=8, output_dim=4)
    file = export_backbone(_trained(module, tmp_path), tmp_path / "deep" / "backbone.safetensors")
    network = timm.create_model("resnet10t", num_classes=0, checkpoint_path=str(file)).eval()
    _agree(network, module.backbone)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("torchvision/mobilenet_v3_small", {}),
        ("resnet10t", {"stem": "cifar"}),
        ("vit_tiny_patch16_224", {"backbone_kwargs": {"img_size": 32, "patch_size": 8, "depth": 2}}),
    ],
)
def test_the_file_rebuilds_its_network(name, arguments, tmp_path):
    module = SimCLR(name, hidden_dim=8, output_dim=4, **arguments)
    network = load_backbone(export_backbone(module, tmp_path / "backbone.safetensors"))
    assert not network.training
    _agree(network, module.backbone)


def test_other_channels_are_remembered(tmp_path):
    module = SimCLR("resnet10t", stem="cifar", in_chans=1)
    network = load_backbone(export_backbone(module, tmp_path / "backbone.safetensors"))
    assert network.conv1.in_channels == 1
    _agree(network, module.backbone)


def test_weights_that_training_started_from_are_not_fetched_again(tmp_path):
    module = SimCLR("resnet10t", stem="cifar", backbone_kwargs={"pretrained": False, "drop_rate": 0.1})
    file = export_backbone(module, tmp_path / "backbone.safetensors")
    with safe_open(file, framework="pt") as stored:
        assert json.loads(stored.metadata()["sslbolts"])["backbone_kwargs"] == {"drop_rate": 0.1}


def test_teacher_and_student_are_told_apart(tmp_path):
    module = BYOL("resnet10t", stem="cifar", hidden_dim=8, output_dim=4)
    with torch.no_grad():
        module.teacher.backbone.bn1.weight.mul_(3)
    path = _trained(module, tmp_path)
    assert not torch.equal(module.backbone.bn1.weight, module.teacher.backbone.bn1.weight)
    _agree(load_backbone(path), module.backbone)
    _agree(load_backbone(path, teacher=True), module.teacher.backbone)


def test_a_module_backbone_is_filled_where_it_is_given(tmp_path):
    module = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4)
    for file in (_trained(module, tmp_path), export_backbone(module, tmp_path / "backbone.safetensors")):
        with pytest.raises(UsageError, match="backbone="):
            load_backbone(file)
        _agree(load_backbone(file, backbone=TinyBackbone()), module.backbone)


def test_compiled_backbones_lose_the_prefix(tmp_path):
    module = SimCLR("resnet10t", stem="cifar")
    network = module.backbone
    module.backbone = torch.compile(network, backend="eager")
    _agree(load_backbone(export_backbone(module, tmp_path / "backbone.safetensors")), network)


def test_any_module_with_a_backbone_can_be_exported(tmp_path):
    host = nn.Module()
    host.backbone = TinyBackbone()
    file = export_backbone(host, tmp_path / "backbone.safetensors")
    _agree(load_backbone(file, backbone=TinyBackbone()), host.backbone)


def _tensors(path: Path) -> Path:
    torch.save({"layer.weight": torch.zeros(1)}, path)
    return path


def test_what_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"nothing")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    torch.save({"state_dict": {"encoder.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    torch.save({"state_dict": {"backbone.weight": torch.zeros(1)}}, tmp_path / "bare.ckpt")
    for name, words in {
        "lost.ckpt": 'there is no file .*Did you mean "last.ckpt"',
        "last.ckpt": "cannot be read as a checkpoint",
        "broken.safetensors": "not a safetensors file",
        "foreign.safetensors": "no layout that is known; in it stand a",
        "other.ckpt": r"no layout that is known; in it stand encoder\.weight",
        "bare.ckpt": "neither of a ResNet nor of a vision transformer: name the network",
        _tensors(tmp_path / "flat.ckpt").name: r"no layout that is known; in it stand layer\.weight",
    }.items():
        with pytest.raises(UsageError, match=words):
            load_backbone(tmp_path / name)


def test_weights_of_another_network_are_listed(tmp_path):
    file = export_backbone(SimCLR("resnet10t", stem="cifar"), tmp_path / "backbone.safetensors")
    with pytest.raises(UsageError, match=r"missing layers\.0\.weight.*unexpected .* and \d+ more"):
        load_backbone(file, backbone=TinyBackbone())
    other = export_backbone(SimCLR(TinyBackbone()), tmp_path / "tiny.safetensors")
    with pytest.raises(UsageError, match=r"another shape layers\.0\.weight"):
        load_backbone(other, backbone=TinyBackbone(in_chans=1))


def test_what_cannot_be_exported_is_named(tmp_path):
    file = tmp_path / "backbone.safetensors"
    with pytest.raises(UsageError, match="Linear has no backbone"):
        export_backbone(nn.Linear(1, 1), file)
    with pytest.raises(UsageError, match="SimCLR has no teacher"):
        export_backbone(SimCLR(TinyBackbone()), file, teacher=True)
    with pytest.raises(UsageError, match="teacher's backbone: leave teacher=True out"):
        export_backbone(_trained(SimCLR(TinyBackbone()), tmp_path), file, teacher=True)
    export_backbone(SimCLR(TinyBackbone()), file)
    with pytest.raises(UsageError, match="export_backbone"):
        load_backbone(file, teacher=True)


@torch.no_grad()
def test_a_filter_before_the_backbone_is_not_left_out_silently(tmp_path):
    method = DeepCluster("resnet10t", stem="cifar", sobel=True, num_clusters=4).eval()
    for source in (method, _saved(method, tmp_path)):
        for file in ("backbone.safetensors", "backbone.pt2"):
            with pytest.raises(UsageError, match=r"DeepCluster sees images through Sobel.*nn\.Sequential"):
                export_backbone(source, tmp_path / file)
    with pytest.raises(UsageError, match="through Sobel"):
        load_backbone(tmp_path / "saved.ckpt")
    host = nn.Module()
    host.backbone = nn.Sequential(method.input_module(), method.backbone)
    if not torch.__version__.startswith("2.6."):  # which cannot load a program of a module that has no name
        program = torch.export.load(export_backbone(host, tmp_path / "filtered.pt2", image_size=64)).module()
        torch.testing.assert_close(program(IMAGES), method(IMAGES), rtol=1e-4, atol=1e-5)
    method = DeepCluster("resnet10t", stem="cifar", num_clusters=4)
    _agree(load_backbone(_saved(method, tmp_path)), method.backbone)


def _saved(method: nn.Module, folder: Path) -> Path:
    trainer = quiet_trainer()
    trainer.strategy.connect(method)
    trainer.save_checkpoint(folder / "saved.ckpt")
    return folder / "saved.ckpt"


def test_a_name_among_another_modules_hyperparameters_is_not_its_network(tmp_path):
    host = nn.Module()
    host.backbone = create_backbone("resnet18", stem="no_pool").eval()
    host.hparams = {"backbone": "resnet18"}
    program = torch.export.load(export_backbone(host, tmp_path / "backbone.pt2", image_size=64)).module()
    torch.testing.assert_close(program(IMAGES), host.backbone(IMAGES), rtol=1e-4, atol=1e-5)
