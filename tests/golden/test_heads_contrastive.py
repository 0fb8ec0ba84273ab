"""Parameter counts of the contrastive methods' networks."""

import pytest
import torch
from torch import nn

from sslbolts import MoCo, MoCoV3
from tests.golden.reference import architectures


def _count(*networks: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for network in networks for p in network.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize(
    ("reference", "hidden_dim"), [("moco_v1_encoder_q_rn50", None), ("moco_v2_encoder_q_rn50", 2048)]
)
def test_moco_has_the_parameters_of_the_official_encoder(reference, hidden_dim):
    with torch.device("meta"):
        method = MoCo(hidden_dim=hidden_dim)
    assert _count(method.backbone, method.projector) == architectures()[reference]["total"]
    assert _count(method, trainable=True) == architectures()[reference]["trainable"]


def test_moco_v3_has_the_parameters_of_the_official_encoder_and_predictor():
    expected = architectures()["moco_v3_rn50"]
    with torch.device("meta"):
        method = MoCoV3()
    assert _count(method.backbone, method.projector) == expected["base_encoder"]["total"]
    assert _count(method.predictor) == expected["predictor"]["total"]
    assert repr(method.predictor).count("Linear") == expected["pred"].count("Linear")
    assert _count(method, trainable=True) == expected["base_encoder"]["trainable"] + expected["predictor"]["trainable"]
