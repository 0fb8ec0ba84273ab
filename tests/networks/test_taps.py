"""Maps out of the middle of networks."""

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.taps import feature_maps, last_stages, map_widths


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_maps_of_a_resnets_stages_are_those_that_are_pooled(name):
    network = create_backbone(name).eval()
    images = torch.randn(2, 3, 64, 64)
    block3, block4 = feature_maps(network, last_stages(network), images)
    assert block3.shape == (2, 256, 4, 4)
    assert block4.shape == (2, 512, 2, 2)
    torch.testing.assert_close(block4.mean((2, 3)), network(images))


def test_other_networks_of_timm_have_stages_too():
    with torch.device("meta"):
        network = create_backbone("convnext_atto")
    assert last_stages(network, 3) == ["stages.1", "stages.2", "stages.3"]
    assert map_widths(network, last_stages(network)) == [160, 320]


def test_nothing_of_the_network_changes():
    network = create_backbone("resnet10t").train()
    network.bn1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert map_widths(network, ["layer1", "layer4"]) == [64, 512]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert not network.bn1.training
    assert not any(m._forward_hooks for m in network.modules())


def test_a_wrong_name_is_met_with_the_nearest_and_leaves_no_hook():
    network = create_backbone("resnet10t")
    with pytest.raises(UsageError, match=r'no layer "layer5"\. Did you mean "layer'):
        feature_maps(network, ["layer4", "layer5"], torch.zeros(1, 3, 32, 32))
    assert not any(m._forward_hooks for m in network.modules())


def test_a_layer_without_maps_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Sequential(nn.Identity()))
    with pytest.raises(UsageError, match=r'layer "1" of Sequential gives \(1, 144\), not maps'):
        feature_maps(network, ["0", "1"], torch.zeros(1, 3, 8, 8))


def test_a_network_of_unknown_stages_asks_for_layers():
    with pytest.raises(UsageError, match="name the layers"):
        last_stages(nn.Linear(2, 2))
