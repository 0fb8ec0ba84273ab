"""Backbones from timm, torchvision and modules: their form, their width, and what a lookup must not disturb."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

from sslbolts import UsageError
from sslbolts.networks.backbones import create_backbone, feature_width, warn_small_images
from tests.helpers.nets import TinyBackbone, WithBatchNorm, without_memory


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "torchvision/resnet18",
        "mobilenetv3_small_050",  # num_features is not the width of what it returns
        "torchvision/mobilenet_v3_small",
        "efficientnet_b0",
        "convnext_atto",
        "vit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224",
        "torchvision/vit_b_16",
        "torchvision/densenet121",
        "torchvision/vgg11",
        "densenet121",
        "regnetx_002",
    ],
)
def test_width_is_that_of_the_features(name):
    with without_memory():
        network = create_backbone(name).eval()
        assert network(torch.empty(2, 3, 224, 224)).shape == (2, feature_width(network))


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "timm/resnet50d"])
@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_cifar_stem_is_a_small_convolution_without_pooling(name, in_chans):
    shapes = []
    with without_memory():
        network = create_backbone(name, stem="cifar", in_chans=in_chans)
        network.layer1.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[-2:])))
        assert network.eval()(torch.empty(2, in_chans, 32, 32)).shape == (2, feature_width(network))
    stem = network.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.in_channels) == ((3, 3), (1, 1), (1, 1), in_chans)
    assert stem.bias is None
    assert isinstance(network.maxpool, nn.Identity)
    assert shapes == [(32, 32)]


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "torchvision/convnext_tiny"])
@pytest.mark.parametrize("in_chans", [1, 4])
def test_first_convolution_takes_the_channels_asked_for(name, in_chans):
    with without_memory():
        network = create_backbone(name, in_chans=in_chans).eval()
        assert network(torch.empty(1, in_chans, 64, 64)).shape == (1, feature_width(network))


@pytest.mark.parametrize(
    ("name", "arguments", "zero"),
    [
        ("timm/resnet18", {}, True),
        ("timm/resnet18", {"zero_init_last": False}, False),
        ("torchvision/resnet18", {}, False),
        ("torchvision/resnet18", {"zero_init_residual": True}, True),
        ("timm/resnet18", {"zero_init_residual": False}, False),
    ],
)
def test_residual_branches_start_as_the_library_has_it_or_as_asked(name, arguments, zero):
    network = create_backbone(name, **arguments)
    for block in [*network.layer1, *network.layer4]:
        assert bool((block.bn2.weight == 0).all()) is zero
        assert (block.bn1.weight == 1).all()


def test_vision_transformer_takes_images_of_several_sizes():
    network = create_backbone("vit_tiny_patch16_224", img_size=96).eval()
    with torch.no_grad():
        assert [network(torch.randn(1, 3, size, size)).shape for size in (96, 64, 224)] == [(1, 192)] * 3


def test_vision_transformer_of_fixed_size_on_demand():
    network = create_backbone("vit_tiny_patch16_224", dynamic_img_size=False).eval()
    with torch.no_grad(), pytest.raises(AssertionError):
        network(torch.randn(1, 3, 96, 96))


def test_a_module_is_taken_as_it_is():
    network = TinyBackbone()
    assert create_backbone(network) is network
    assert feature_width(network) == 16


class _Unknown(nn.Module):
    """Says nothing about its width."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def test_width_lookup_disturbs_neither_statistics_nor_modes():
    network = _Unknown(WithBatchNorm())
    network.body.layers[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    assert feature_width(network) == 8
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes


def test_width_of_a_network_for_other_channels_or_precision_is_found_too():
    assert feature_width(_Unknown(TinyBackbone(in_chans=4))) == 16
    assert feature_width(_Unknown(TinyBackbone()).double()) == 16


def test_features_that_are_not_pooled_are_refused():
    with pytest.raises(UsageError, match=r"\(1, 8, 62, 62\).*pool"):
        feature_width(nn.Sequential(nn.Conv2d(3, 8, 3)))


def test_a_network_that_cannot_be_tried_asks_for_its_width():
    with pytest.raises(UsageError, match="num_features"):
        feature_width(_Unknown(nn.Sequential(nn.Flatten(), nn.Linear(7, 3))))


def test_a_timm_network_with_its_classifier_is_refused():
    import timm

    with pytest.raises(UsageError, match="num_classes=0"):
        create_backbone(timm.create_model("resnet10t"))


@pytest.mark.parametrize(
    ("backbone", "arguments", "words"),
    [
        ("resnet19", {}, 'Did you mean "resnet1'),
        ("torchvision/resnet19", {}, 'Did you mean "resnet1'),
        ("timm/nothing_like_it", {}, "in timm"),
        ("resnet18", {"stem": "cifra"}, 'Did you mean "cifar"'),
        ("resnet18", {"widht": 2}, "widht"),
        ("torchvision/resnet18", {"widht": 2}, "widht"),
        ("vit_tiny_patch16_224", {"stem": "cifar"}, "patch_size=4"),
        ("torchvision/squeezenet1_0", {}, "no linear classifier"),
        (TinyBackbone(), {"stem": "cifar"}, "taken as it is"),
        (TinyBackbone(), {"in_chans": 1}, "taken as it is"),
        (TinyBackbone(), {"depth": 1}, "taken as it is"),
    ],
)
def test_what_cannot_be_made_is_named(backbone, arguments, words):
    with pytest.raises(UsageError, match=words):
        create_backbone(backbone, **arguments)


def test_large_stem_on_small_images_is_warned_of():
    with pytest.warns(UserWarning, match="stem='cifar'"):
        warn_small_images(create_backbone("resnet18"), 32)


@pytest.mark.parametrize(("stem", "size"), [("imagenet", 96), ("cifar", 32)])
def test_no_warning_where_there_is_no_reason(stem, size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_small_images(create_backbone("resnet18", stem=stem), size)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "alexnet"])
def test_a_ready_made_network_with_its_classifier_is_said(name):
    with without_memory():
        network = torchvision.models.get_model(name)
    with pytest.warns(UserWarning, match=r"ends in (fc|classifier), \d+ -> 1000.*nn\.Identity\(\)"):
        create_backbone(network)
    setattr(network, "fc" if name == "resnet18" else "classifier", nn.Identity())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_backbone(network)


def test_trained_weights_that_cannot_be_fetched_are_one_line(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("Name or service not known\nwith much more")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(
        UsageError, match=r'trained weights of "resnet10t" cannot be had \(Name or service not known\):'
    ):
        create_backbone("resnet10t", pretrained=True)
    with pytest.raises(ConnectionError):
        create_backbone("resnet10t")
