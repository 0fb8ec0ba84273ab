"""Parameter counts of the official decorrelating networks."""

import torch
from torch import nn

from sslbolts import BarlowTwins, VICReg
from tests.golden.reference import architectures


def _counts(module: nn.Module) -> dict[str, int]:
    return {
        "total": sum(p.numel() for p in module.parameters()),
        "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
    }


def test_barlow_twins_projector_and_network():
    with torch.device("meta"):
        method = BarlowTwins("torchvision/resnet50")
    assert _counts(method.projector) == architectures()["barlow_rn50"]["projector"]
    assert _counts(method) == architectures()["barlow_rn50"]["all"]


def test_vicregs_expander():
    with torch.device("meta"):
        method = VICReg("torchvision/resnet50")
    assert _counts(method.projector) == architectures()["vicreg_expander"]
