"""Parameter counts of the heads of the official networks."""

import torch
from torch import nn

from sslbolts import OBoW, SimSiam
from sslbolts.networks.heads import DINOHead
from tests.golden.reference import architectures


def _counts(*modules: nn.Module) -> dict[str, int]:
    parameters = [p for module in modules for p in module.parameters()]
    return {
        "total": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
    }


def test_simsiams_projector_and_predictor():
    with torch.device("meta"):
        method = SimSiam("torchvision/resnet50")
    reference = architectures()["simsiam_rn50"]
    assert _counts(method.projector) == reference["projector"]
    assert _counts(method.predictor) == reference["predictor"]
    assert _counts(method) == reference["all"]


def test_dinos_head():
    head = DINOHead(384, 2048, 256, 65536)
    assert _counts(head) == architectures()["dino"]["head_384_65536"]


def test_obows_generators_of_words():
    with torch.device("meta"):
        method = OBoW("torchvision/resnet50")
    assert method.levels == ["layer3", "layer4"]
    assert _counts(method.generators) == architectures()["obow_predictor_rn50"]
