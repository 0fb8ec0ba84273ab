"""Layers in the middle of networks: by name, as maps, and pooled."""

import pytest
import torch
import torchvision
from timm.models import SwinTransformer, VisionTransformer
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from sslbolts import UsageError
from sslbolts.networks.backbones import create_backbone
from sslbolts.networks.taps import Tap, feature_maps, find_layer, last_stages, layer_outputs, map_widths, pooled
from tests.helpers.nets import without_memory


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_maps_of_a_resnets_stages_are_those_that_are_pooled(name):
    network = create_backbone(name).eval()
    images = torch.randn(2, 3, 64, 64)
    block3, block4 = feature_maps(network, last_stages(network), images)
    assert block3.shape == (2, 256, 4, 4)
    assert block4.shape == (2, 512, 2, 2)
    torch.testing.assert_close(block4.mean((2, 3)), network(images))


def test_other_networks_of_timm_have_stages_too():
    with without_memory():
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
    with pytest.raises(UsageError, match=r'layer "1" of Sequential gives shape \(1, 144\), not maps'):
        feature_maps(network, ["0", "1"], torch.zeros(1, 3, 8, 8))


def test_a_network_of_unknown_stages_asks_for_layers():
    with pytest.raises(UsageError, match="name the layers"):
        last_stages(nn.Linear(2, 2))


class Twice(nn.Module):
    """One layer that runs twice, under two names."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
        self.alias = self.backbone[0]
        nn.init.constant_(self.alias.weight, 2.0)

    def forward(self, x):
        return self.alias(self.backbone(x))


def test_a_layer_is_found_by_any_of_its_names_and_inside_the_backbone():
    network = Twice()
    assert find_layer(network, "backbone.0") is find_layer(network, "alias") is find_layer(network, "0")


@pytest.mark.parametrize("name", ["", "backbone.", "forward", "backbone.1", "training"])
def test_what_is_no_submodule_is_refused_with_those_that_are(name):
    with pytest.raises(UsageError, match=r"Twice has no layer .* There are: backbone, backbone\.0\. Ask\."):
        find_layer(Twice(), name, advice="Ask.")


def test_of_a_layer_that_runs_twice_the_maps_are_the_last():
    (maps,) = feature_maps(Twice(), ["alias"], torch.ones(1, 1, 2, 2))
    assert torch.equal(maps, torch.full((1, 1, 2, 2), 4.0))


def test_a_tap_records_what_it_is_asked_to():
    network = Twice()
    with Tap(network.alias, detach=True) as tap:
        network(torch.ones(1, 1, 2, 2))
        assert [float(output.mean()) for output in tap.outputs] == [2.0, 4.0]
        assert tap.sizes == [(1, 2, 2), (1, 2, 2)]
        assert not any(output.requires_grad for output in tap.outputs)
        tap.start()
        network(torch.ones(1, 1, 3, 3))
        tap.recording = False
        network(torch.ones(1, 1, 4, 4))
    network(torch.ones(1, 1, 5, 5))
    assert tap.sizes == [(1, 3, 3)] * 2


def test_gradients_pass_through_maps():
    network = Twice()
    (maps,) = feature_maps(network, ["alias"], torch.ones(1, 1, 2, 2))
    maps.sum().backward()
    assert float(network.alias.weight.grad) == 16.0  # of the sum of 4 pixels, each w ** 2


def test_rows_tokens_and_maps_are_pooled_to_rows():
    rows = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert pooled(rows, "x") is rows
    tokens = torch.stack([rows, 3 * rows], 1)
    assert torch.equal(pooled(tokens, "x"), 2 * rows)
    assert torch.equal(pooled((tokens, None), "x"), 2 * rows)
    maps = tokens.transpose(1, 2).unflatten(2, (2, 1))
    assert torch.equal(pooled(maps, "x"), 2 * rows)


def test_an_average_may_be_more_precise_than_what_is_averaged():
    tokens = torch.tensor([[[1.0], [2**-8]]], dtype=torch.bfloat16)  # their mean has more digits than bfloat16
    assert pooled(tokens, "x").dtype == torch.bfloat16
    assert float(pooled(tokens, "x", dtype=torch.float32)) == (1 + 2**-8) / 2


@pytest.mark.parametrize(
    ("output", "form"), [({"x": 1}, "type dict"), (torch.zeros(3), r"shape \(3,\)"), ((), "type tuple")]
)
def test_what_cannot_be_pooled_is_named(output, form):
    with pytest.raises(UsageError, match=f'output of "layer4" has {form}; features are'):
        pooled(output, "layer4")


@pytest.mark.parametrize("call", [lambda f, x: f(x=x, mask=x[:, 0]), lambda f, x: f([x]), lambda f, x: f({"x": x})])
def test_the_size_of_an_input_is_known_however_it_is_given(call):
    class Any(nn.Module):
        def forward(self, x, mask=None):
            return x[0] if isinstance(x, list) else x["x"] if isinstance(x, dict) else x

    layer = Any()
    with Tap(layer) as tap:
        call(layer, torch.zeros(2, 3, 8, 8))
    assert tap.sizes == [(3, 8, 8)]


def networks_of_libraries() -> dict[str, nn.Module]:
    """Small ones, for images of 32 pixels."""
    blocks = [CNBlockConfig(24, 48, 1), CNBlockConfig(48, None, 1)]
    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 24, "num_classes": 0}
    return {
        "timm swin": SwinTransformer(**sizes, window_size=4, depths=(1, 1), num_heads=(2, 2)),
        "torchvision swin": torchvision.models.SwinTransformer([4, 4], 24, [1, 1], [2, 2], [4, 4]),
        "torchvision convnext": torchvision.models.ConvNeXt(blocks),
        "timm convnext": create_backbone(
            "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 16, 16)
        ),  # 8 channels of 8 x 8 pixels
        "resnet": create_backbone("resnet10t"),
        "timm vit": VisionTransformer(**sizes, depth=2, num_heads=2),
    }


@pytest.mark.parametrize(
    ("name", "layers", "space"),
    [
        ("timm swin", ["patch_embed", "layers.0", "layers.1", "norm"], (1, 2)),
        ("torchvision swin", ["features.0", "features.1", "features.3", "norm"], (1, 2)),
        ("torchvision swin", ["permute"], (2, 3)),
        ("torchvision convnext", ["features.1", "features.3"], (2, 3)),
        ("timm convnext", ["stem", "stages.0", "stages.1"], (2, 3)),
        ("resnet", ["layer1", "act1", "maxpool", "layer4"], (2, 3)),
        ("timm vit", ["patch_embed", "blocks.0", "blocks.1.drop_path1", "norm"], (1,)),
    ],
)
def test_the_axes_of_space_are_those_of_the_library(name, layers, space):
    network = networks_of_libraries()[name].eval()
    with torch.no_grad():
        found = layer_outputs(network, [find_layer(network, layer) for layer in layers], torch.randn(1, 3, 32, 32))
    for layer, (output, *_) in zip(layers, found):
        rows = pooled(output, layer, layer=find_layer(network, layer), network=network)
        torch.testing.assert_close(rows, output.mean(space))


def test_maps_with_channels_last_are_turned():
    network = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16))
    images = torch.randn(2, 5, 5, 8)
    (maps,) = feature_maps(network, ["1"], images)
    assert torch.equal(maps, network(images).permute(0, 3, 1, 2))


def test_rows_of_a_one_dimensional_convolution_are_averaged_over_its_length():
    layer = nn.Conv1d(3, 8, 3)
    output = layer(torch.randn(2, 3, 20))
    torch.testing.assert_close(pooled(output, "x", layer=layer), output.mean(2))


def test_axes_that_cannot_be_told_are_refused():
    mixed = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LayerNorm(8))
    with pytest.raises(UsageError, match=r'"0" has shape \(2, 8, 8, 8\), and which of its axes'):
        pooled(torch.zeros(2, 8, 8, 8), "0", layer=mixed)
