"""Which parameters are decayed."""

import torch
from torch import nn

from sslbolts.optim import parameter_groups


def _names(network: nn.Module, groups) -> list[set[str]]:
    name_of = {id(p): name for name, p in network.named_parameters()}
    return [{name_of[id(p)] for p in group["params"]} for group in groups]


def test_biases_and_norms_are_not_decayed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    groups = parameter_groups(network)
    assert _names(network, groups) == [{"0.weight", "2.weight"}, {"0.bias", "1.weight", "1.bias", "2.bias"}]
    assert "weight_decay" not in groups[0]
    assert groups[1]["weight_decay"] == 0


def test_a_group_of_its_own_survives_the_optimizers_default():
    optimizer = torch.optim.AdamW(parameter_groups(nn.Linear(3, 4)), lr=0.1, weight_decay=0.05)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


def test_frozen_parameters_are_left_out():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).requires_grad_(False))
    assert _names(network, parameter_groups(network)) == [{"0.weight"}, {"0.bias"}]


def test_shared_parameters_are_taken_once():
    layer = nn.Linear(3, 4)
    groups = parameter_groups(nn.Sequential(layer, layer), layer)
    assert sum(len(group["params"]) for group in groups) == 2


def test_a_class_token_is_decayed_like_a_matrix_and_a_scalar_is_not():
    network = nn.ParameterDict({"token": nn.Parameter(torch.zeros(1, 1, 8)), "scale": nn.Parameter(torch.tensor(1.0))})
    assert _names(network, parameter_groups(network)) == [{"token"}, {"scale"}]


def test_no_empty_groups():
    assert len(parameter_groups(nn.Linear(3, 4, bias=False))) == 1
    assert parameter_groups(nn.ReLU()) == []
