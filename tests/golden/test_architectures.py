"""Parameter counts of the official networks."""

from typing import Any

import pytest

from sslbolts.networks.backbones import create_backbone
from tests.golden.reference import architectures
from tests.helpers.nets import without_memory


def _count(name: str, **arguments: Any) -> int:
    with without_memory():  # sizes without memory
        network = create_backbone(name, **arguments)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("reference", "name", "arguments"),
    [
        ("torchvision_resnet50_no_fc", "torchvision/resnet50", {}),
        ("torchvision_resnet50_no_fc", "timm/resnet50", {}),
        ("resnet18_cifar_stem_no_fc", "torchvision/resnet18", {"stem": "cifar"}),
        ("resnet18_cifar_stem_no_fc", "timm/resnet18", {"stem": "cifar"}),
    ],
)
def test_backbone_has_the_parameters_of_the_official_network(reference, name, arguments):
    assert _count(name, **arguments) == architectures()[reference]["total"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("vit_tiny16", "vit_tiny_patch16_224"),
        ("vit_small16", "vit_small_patch16_224"),
        ("vit_base16", "vit_base_patch16_224"),
    ],
)
def test_vision_transformer_has_the_parameters_of_dinos(reference, name):
    assert _count(name) == architectures()["dino"][reference]["total"]
