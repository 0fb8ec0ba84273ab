"""Two networks in one, and the AlexNet of colorization."""

import pytest
import torch
from torch import nn

from sslbolts import UsageError
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.dilated_alexnet import DilatedAlexNet
from sslbolts.networks.split_brain import SplitNetwork
from sslbolts.networks.taps import block_names, feature_maps
from tests.helpers.nets import TinyBackbone

NARROW = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def test_features_are_those_of_both_networks_side_by_side():
    network = SplitNetwork(TinyBackbone(1), TinyBackbone(2))
    lab = torch.randn(2, 3, 32, 32)
    expected = torch.cat([network.lightness(lab[:, :1]), network.color(lab[:, 1:])], 1)
    assert network.num_features == expected.shape[1] == 32
    assert torch.equal(network(lab), expected)


def test_who_listens_to_a_block_hears_both_networks():
    network = create_backbone("split/resnet18", stem="cifar", **NARROW).eval()
    assert isinstance(network, SplitNetwork)
    lab = torch.randn(2, 3, 32, 32)
    assert block_names(network) == [f"blocks.{number}" for number in range(5)]
    heard = feature_maps(network, ["blocks.0", "blocks.3"], lab)
    for maps, name in zip(heard, ("act1", "layer3")):
        of_lightness = feature_maps(network.lightness, [name], lab[:, :1])
        of_color = feature_maps(network.color, [name], lab[:, 1:])
        assert torch.equal(maps, torch.cat([*of_lightness, *of_color], 1))
    assert not any(module._forward_hooks for module in network.modules())


def test_networks_of_which_no_block_is_known_have_none_to_listen_to():
    halves = (nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.LazyLinear(4)) for channels in (1, 2))
    networks = [nn.Sequential(half, nn.Identity()) for half in halves]
    for network, channels in zip(networks, (1, 2)):
        network.num_features = 4
        network(torch.zeros(1, channels, 16, 16))
    assert not SplitNetwork(*networks).blocks


def test_a_layer_of_both_networks_is_refused():
    lightness, color = TinyBackbone(1), TinyBackbone(2)
    norm = nn.BatchNorm2d(16, affine=False)
    lightness.layers.append(norm)
    color.layers.append(norm)
    with pytest.raises(UsageError, match="a part in common"):
        SplitNetwork(lightness, color)


@pytest.mark.parametrize(("channels", "words"), [((3, 2), "lightness takes 3"), ((1, 1), "color takes 1")])
def test_networks_of_other_channels_are_refused(channels, words):
    with pytest.raises(UsageError, match=words):
        SplitNetwork(*map(TinyBackbone, channels))


def test_alexnet_has_the_published_layers():
    with torch.device("meta"):
        network, half = DilatedAlexNet(), DilatedAlexNet(2, width=48, groups=1)
    kernels = (  # outputs x inputs of a group x area
        96 * 1 * 121,
        256 * 48 * 25,
        384 * 256 * 9,
        384 * 192 * 9,
        256 * 192 * 9,
        4096 * 256 * 36,
        4096 * 4096,
    )
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096
    assert sum(p.numel() for p in network.parameters()) == sum(kernels) + biases  # no scale and no shift in its norms
    of_half = (48 * 2 * 121, 128 * 48 * 25, 192 * 128 * 9, 192 * 192 * 9, 128 * 192 * 9, 2048 * 128 * 36, 2048 * 2048)
    assert sum(p.numel() for p in half.parameters()) == sum(of_half) + biases // 2
    assert (network.num_features, half.num_features) == (4096, 2048)


def test_alexnet_keeps_the_resolution_of_its_third_layer():
    network = DilatedAlexNet(width=12)
    with torch.no_grad():
        maps = feature_maps(network.eval(), ["conv1", "conv2", "conv3", "conv5", "conv7"], torch.zeros(1, 1, 180, 180))
    assert [m.shape[2] for m in maps] == [45, 23, 12, 12, 12]
    spread = network.conv6[0].weight.std().item()
    assert spread == pytest.approx((2 / (32 * 36)) ** 0.5, rel=0.05)  # He et al.
    assert not network.conv6[0].bias.any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DilatedAlexNet(width=50), "multiple of 12"),
        (lambda: create_backbone("sslbolts/dilated_alexnet", depth=3), "does not take these backbone_kwargs"),
        (lambda: create_backbone("sslbolts/dilated_alexnet", stem="cifar"), "for ResNets"),
        (lambda: create_backbone("split/resnet18", in_chans=1), "three channels of Lab"),
        (lambda: create_backbone("split/resnet1"), "there is no backbone"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()
