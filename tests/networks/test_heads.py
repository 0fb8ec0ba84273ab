"""MLP heads: their norms, biases and parameter counts."""

import pytest
import torch
from torch import nn

from sslbolts import BYOL, SimCLR, UsageError
from sslbolts.networks.heads import mlp
from tests.golden.reference import architectures


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_projector_and_predictor_of_moco_v3_have_the_official_counts():
    official = architectures()["moco_v3_rn50"]
    projector = mlp(2048, 4096, 256, bias=False, last_bias=False, last_norm="plain")
    network = architectures()["torchvision_resnet50_no_fc"]["total"]
    assert network + _count(projector) == official["base_encoder"]["total"]
    predictor = mlp(256, 4096, 256, bias=False, last_bias=False)
    assert _count(predictor) == official["predictor"]["total"]


def test_projector_and_predictor_of_simsiam_have_the_official_counts():
    official = architectures()["simsiam_rn50"]
    # Its last layer has a bias, which the norm behind it makes useless; it is frozen there.
    projector = mlp(2048, 2048, 2048, 2048, bias=False, last_norm="plain")
    assert _count(projector) == official["projector"]["total"]
    assert _count(mlp(2048, 512, 2048, bias=False)) == official["predictor"]["total"]


def test_projectors_of_barlow_twins_and_vicreg_have_the_official_counts():
    barlow = architectures()["barlow_rn50"]["projector"]["total"]
    with torch.device("meta"):
        assert _count(mlp(2048, 8192, 8192, 8192, bias=False, last_bias=False)) == barlow
        assert _count(mlp(2048, 8192, 8192, 8192, last_bias=False)) == architectures()["vicreg_expander"]["total"]


def test_simclr_head_is_the_papers():
    # Linear(512, 2048) without bias, BN; Linear(2048, 128) without bias, BN with a scale and a bias that stays 0.
    head = SimCLR("resnet18").projector
    assert _count(head) == 512 * 2048 + 2 * 2048 + 2048 * 128 + 2 * 128
    trainable = sum(p.numel() for p in head.parameters() if p.requires_grad)
    assert trainable == 512 * 2048 + 2 * 2048 + 2048 * 128 + 128


def test_byol_heads_are_the_papers():
    # Linear(., 4096) with bias, BN; Linear(4096, 256) without bias, no norm at the end.
    method = BYOL("resnet18")
    assert _count(method.projector) == 512 * 4096 + 4096 + 2 * 4096 + 4096 * 256
    assert _count(method.predictor) == 256 * 4096 + 4096 + 2 * 4096 + 4096 * 256


@pytest.mark.parametrize(("last_norm", "parameters"), [("none", 0), ("plain", 0), ("scale", 2 * 3), ("affine", 2 * 3)])
def test_last_norm_adds_what_its_name_says(last_norm, parameters):
    head = mlp(4, 3, last_norm=last_norm)
    assert _count(head) == 4 * 3 + 3 + parameters
    assert isinstance(head[-1], nn.Linear) == (last_norm == "none")


def test_scale_norm_keeps_its_bias_at_zero():
    head = mlp(4, 3, last_norm="scale")
    assert [p.requires_grad for p in head[-1].parameters()] == [True, False]
    assert not head[-1].bias.any()


def test_layers_stand_in_the_papers_order():
    kinds = [type(layer).__name__ for layer in mlp(8, 6, 4, 2)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    kinds = [type(layer).__name__ for layer in mlp(8, 6, 2, batch_norm=False)]
    assert kinds == ["Linear", "ReLU", "Linear"]


def test_two_widths_are_one_linear_layer():
    assert mlp(5, 3)(torch.ones(2, 5)).shape == (2, 3)


@pytest.mark.parametrize(
    ("widths", "arguments", "words"),
    [((8,), {}, "two|input and an output"), ((8, 0), {}, "positive"), ((8, 4), {"last_norm": "batch"}, "last_norm")],
)
def test_wrong_arguments_are_named(widths, arguments, words):
    with pytest.raises(UsageError, match=words):
        mlp(*widths, **arguments)
