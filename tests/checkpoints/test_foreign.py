"""Other libraries' checkpoints give, in ours, the features that their own networks give."""

import argparse
import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sslbolts import UsageError, export_backbone, load_backbone
from sslbolts.export import LAYOUTS, read_backbone
from tests.checkpoints.narrow import NarrowResNet18

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
State = Mapping[str, Tensor]


@functools.cache
def resnet18(stem: str = "imagenet", seed: int = 0) -> nn.Module:
    """A narrow one whose batch norms have seen something, with the first layers as these libraries change them."""
    torch.manual_seed(seed)
    network = NarrowResNet18()
    if stem in ("cifar", "cifar_pad2"):
        network.conv1 = nn.Conv2d(3, 64, 3, 1, 2 if stem == "cifar_pad2" else 1, bias=False)
    if stem != "imagenet":
        network.maxpool = nn.MaxPool2d(1, 1)  # as lightning-bolts says that there is none
    with torch.no_grad():
        network(torch.randn(4, 3, 40, 40))
    return network.eval()


def under(prefix: str, state: State) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def head(*names: str) -> dict[str, Tensor]:
    return {name: torch.zeros(2) for name in names}


def lightning(tensors: State, **hparams: Any) -> dict[str, Any]:
    return {
        "epoch": 3,
        "pytorch-lightning_version": "1.9.5",
        "state_dict": OrderedDict(tensors),
        "hyper_parameters": hparams,
    }


def ddp(tensors: State) -> dict[str, Tensor]:
    return under("module.", tensors)


Make = Callable[[State, State], dict[str, Any]]
# layout, stem of the network, whether there is a teacher, and the file that holds student s and teacher t
CASES: list[tuple[str, str, bool, Make]] = [
    (
        "bolts-simclr",
        "cifar",
        False,
        lambda s, t: lightning(
            {**under("encoder.", s), **head("encoder.fc.weight", "projection.model.0.weight")},
            first_conv=False,
            maxpool1=False,
        ),
    ),
    (
        "bolts-simclr",
        "no_pool",
        False,
        lambda s, t: lightning(
            {**under("encoder.", s), **head("projection.model.0.weight")}, first_conv=True, maxpool1=False
        ),
    ),
    (
        "bolts-byol",
        "imagenet",
        True,
        lambda s, t: lightning(
            {
                **under("online_network.encoder.", s),
                **under("target_network.encoder.", t),
                **head("online_network.encoder.fc.bias", "predictor.model.0.weight"),
            },
            initial_tau=0.996,
        ),
    ),
    (
        "bolts-simsiam",
        "imagenet",
        False,
        lambda s, t: lightning(
            {
                **under("online_network.encoder.", s),
                **under("target_network.encoder.", t),
                **head("predictor.model.0.weight"),
            },
            predictor_hidden_dim=512,
        ),
    ),
    (
        "bolts-swav",
        "cifar_pad2",
        False,
        lambda s, t: lightning(
            {**under("model.", s), **head("model.projection_head.0.weight", "model.prototypes.weight")},
            first_conv=False,
            maxpool1=False,
        ),
    ),
    (
        "bolts-moco",
        "imagenet",
        True,
        lambda s, t: lightning(
            {**under("encoder_q.", s), **under("encoder_k.", t), **head("encoder_q.fc.weight", "queue", "val_queue")}
        ),
    ),
    (
        "solo-learn",
        "cifar_pad2",
        True,
        lambda s, t: lightning(
            {
                **under("backbone.", s),
                **under("momentum_backbone.", t),
                **head("classifier.weight", "projector.0.weight"),
            }
        ),
    ),
    (
        "solo-learn-old",
        "cifar_pad2",
        True,
        lambda s, t: lightning(
            {**under("encoder.", s), **under("momentum_encoder.", t), **head("classifier.bias", "projector.0.weight")}
        ),
    ),
    (
        "lightly-byol",
        "imagenet",
        True,
        lambda s, t: lightning(
            {
                **under("backbone.", as_children(s)),
                **under("backbone_momentum.", as_children(t)),
                **head("projection_head.layers.0.weight", "prediction_head.layers.0.weight"),
            }
        ),
    ),
    (
        "lightly-teacher",
        "imagenet",
        True,
        lambda s, t: lightning(
            {**under("student_backbone.", s), **under("teacher_backbone.", t), **head("student_head.x")}
        ),
    ),
    (
        "lightly",
        "imagenet",
        False,
        lambda s, t: lightning({**under("backbone.", as_children(s)), **head("projection_head.layers.0.weight")}),
    ),
    (
        "moco",
        "imagenet",
        True,
        lambda s, t: {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": ddp(
                {
                    **under("encoder_q.", s),
                    **under("encoder_k.", t),
                    **head("encoder_q.fc.0.weight", "queue", "queue_ptr"),
                }
            ),
        },
    ),
    (
        "moco-v3",
        "imagenet",
        True,
        lambda s, t: {
            "state_dict": ddp(
                {
                    **under("base_encoder.", s),
                    **under("momentum_encoder.", t),
                    **head("base_encoder.fc.0.weight", "predictor.0.weight"),
                }
            )
        },
    ),
    (
        "simsiam",
        "imagenet",
        False,
        lambda s, t: {
            "state_dict": ddp({**under("encoder.", s), **head("encoder.fc.0.weight", "predictor.0.weight")}),
        },
    ),
    ("swav", "imagenet", False, lambda s, t: ddp({**s, **head("projection_head.0.weight", "prototypes.weight")})),
    (
        "swav",
        "imagenet",
        False,
        lambda s, t: {"state_dict": ddp({**s, **head("projection_head.0.bias", "prototypes.x")})},
    ),
    (
        "dino",
        "imagenet",
        True,
        lambda s, t: {
            "student": ddp({**under("backbone.", s), **head("head.mlp.0.weight")}),
            "teacher": {**under("backbone.", t), **head("head.mlp.0.weight")},
            "args": argparse.Namespace(arch="resnet18", lr=0.1),
        },
    ),
    (
        "barlow-vicreg",
        "imagenet",
        False,
        lambda s, t: {"model": ddp({**under("backbone.", s), **head("projector.0.weight", "bn.running_mean")})},
    ),
    (
        "byol-pytorch",
        "imagenet",
        True,
        lambda s, t: {**under("online_encoder.net.", s), **under("target_encoder.net.", t)},
    ),
    (
        "pytorch-byol",
        "imagenet",
        True,
        lambda s, t: {
            "online_network_state_dict": {**under("encoder.", as_children(s)), **head("projetion.net.0.weight")},
            "target_network_state_dict": {**under("encoder.", as_children(t)), **head("projetion.net.0.weight")},
        },
    ),
    (
        "byol-pytorch-learner",
        "imagenet",
        True,
        lambda s, t: lightning({**under("learner.online_encoder.net.", s), **under("learner.target_encoder.net.", t)}),
    ),
    (
        "backbone-classifier",
        "imagenet",
        False,
        lambda s, t: lightning({**under("backbone.", s), **head("classifier.weight", "classifier.bias")}),
    ),
    ("backbone", "imagenet", False, lambda s, t: lightning({**under("backbone.", s), **head("projector.0.weight")})),
    ("backbone", "cifar", False, lambda s, t: lightning({**under("backbone.", s), **head("projector.0.weight")})),
    ("plain", "imagenet", False, lambda s, t: {**s, **head("fc.weight", "fc.bias")}),
]


def as_children(state: State) -> dict[str, Tensor]:
    """Names in ``nn.Sequential(*list(resnet.children())[:-1])``: conv, norm, ReLU, pooling, and then the stages."""
    index = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    split = {name: name.partition(".") for name in state}
    return {f"{index[split[name][0]]}.{split[name][2]}": tensor for name, tensor in state.items()}


@pytest.mark.filterwarnings("ignore:.* was read as")
@pytest.mark.parametrize(("layout", "stem", "has_teacher", "make"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_features_are_those_of_the_network_that_was_saved(layout, stem, has_teacher, make, tmp_path):
    student, teacher = resnet18(stem, seed=0), resnet18(stem, seed=1)
    torch.save(make(student.state_dict(), teacher.state_dict()), tmp_path / "theirs.ckpt")
    read = read_backbone(tmp_path / "theirs.ckpt")
    assert read.report is not None
    assert read.report.layout == layout
    assert read.report.matched == len(student.state_dict())
    assert read.report.left_in_network == ()
    assert read.spec == {"backbone": "narrow_resnet18", "stem": stem, "in_chans": 3, "backbone_kwargs": {}}
    torch.testing.assert_close(read.network()(IMAGES), student(IMAGES), rtol=1e-4, atol=1e-5)
    if has_teacher:
        network = load_backbone(tmp_path / "theirs.ckpt", teacher=True)
        torch.testing.assert_close(network(IMAGES), teacher(IMAGES), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(UsageError, match="keeps no teacher"):
            load_backbone(tmp_path / "theirs.ckpt", teacher=True)


def test_every_layout_is_tested():
    transformers = {"mae", "solo-learn-mae", "moco-v3-linear", "lightly-msn"}  # test_foreign_transformers.py
    assert {case[0] for case in CASES} | transformers == set(LAYOUTS)


@pytest.mark.filterwarnings("ignore:.* was read as")
def test_a_wrong_padding_would_change_features(tmp_path):
    network = resnet18("cifar_pad2")
    torch.save(
        lightning({**under("backbone.", network.state_dict()), **head("classifier.bias", "projector.0.bias")}),
        tmp_path / "solo.ckpt",
    )
    loaded = load_backbone(tmp_path / "solo.ckpt")
    expected = network(IMAGES)
    torch.testing.assert_close(loaded(IMAGES), expected, rtol=1e-4, atol=1e-5)
    loaded.conv1.padding = (1, 1)
    assert (loaded(IMAGES) - expected).abs().max() > 1e-2


class Block(nn.Module):
    """A block of two 3x3 convolutions whose shortcut is called so."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or width != out:
            self.shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.shortcut(x))


@pytest.mark.filterwarnings("ignore:.* was read as")
def test_a_sequential_of_a_resnet_without_pooling_between(tmp_path):
    torch.manual_seed(0)
    stages = [
        nn.Sequential(Block(width, out, stride), Block(out, out, 1))
        for width, out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
    ]
    network = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), *stages, nn.AdaptiveAvgPool2d(1))
    torch.save(
        lightning({**under("backbone.", network.state_dict()), **head("projection_head.x")}), tmp_path / "l.ckpt"
    )
    read = read_backbone(tmp_path / "l.ckpt")
    assert (read.report.layout, read.spec["backbone"]) == ("lightly", "resnet18")
    assert "no ReLU" in read.report.note
    expected = network.eval()(IMAGES).flatten(1)
    torch.testing.assert_close(read.network()(IMAGES), expected, rtol=1e-4, atol=1e-5)


def test_a_deeper_network_is_inferred_from_its_shapes(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    loaded = load_backbone(tmp_path / "resnet50.pth")
    network.fc = nn.Identity()
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* was read as")
def test_converted_once_it_needs_no_layout(tmp_path):
    network = resnet18("cifar_pad2")
    torch.save(
        lightning({**under("backbone.", network.state_dict()), **head("classifier.bias", "projector.0.bias")}),
        tmp_path / "solo.ckpt",
    )
    file = export_backbone(tmp_path / "solo.ckpt", tmp_path / "ours.safetensors")
    torch.testing.assert_close(load_backbone(file)(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
