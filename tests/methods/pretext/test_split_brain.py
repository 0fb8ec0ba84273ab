"""SplitBrain: two networks of which neither sees the other's channels, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts import SplitBrain, UsageError, export_backbone, load_backbone
from sslbolts.batch import ViewBatch
from sslbolts.evaluation.encoder import load_encoder
from sslbolts.evaluation.layers.maps import PooledMaps
from sslbolts.networks.split_brain import SplitNetwork
from sslbolts.transforms.lab import ab_bins, rgb_to_lab
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

NARROW = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def method_of(*, batch_norm: bool = False, **arguments: Any) -> SplitBrain:
    torch.manual_seed(0)
    halves = [SmallConvNet(4, 8, in_chans=n) if batch_norm else TinyBackbone(n) for n in (1, 2)]
    arguments = {"target_size": 8, "layer": "layers"} | arguments
    method = SplitBrain(SplitNetwork(*halves), **arguments)
    method.log = lambda *args, **settings: None  # type: ignore[method-assign]
    return method


def batch_of(images: Tensor) -> ViewBatch:
    return ViewBatch([images], torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images)))


@pytest.mark.parametrize("training", [True, False])
def test_neither_network_has_a_gradient_of_what_it_predicts(training):
    method = method_of(batch_norm=True).double().train(training)
    for which, sees, is_blind_to in ((0, slice(0, 1), slice(1, 3)), (1, slice(1, 3), slice(0, 1))):
        lab = torch.randn(4, 3, 32, 32).double().requires_grad_()
        method.predict(lab)[which].square().sum().backward()
        assert lab.grad[:, sees].abs().max() > 0
        assert not lab.grad[:, is_blind_to].any()


def test_neither_loss_reaches_the_other_network():
    method = method_of(batch_norm=True)
    halves = (method.backbone.lightness, method.backbone.color)
    for which, (learns, other) in enumerate((halves, halves[::-1])):
        method.zero_grad()
        method.predict(torch.randn(4, 3, 32, 32))[which].square().sum().backward()
        assert all(p.grad is not None for p in learns.parameters())
        assert all(p.grad is None or not p.grad.any() for p in other.parameters())


def test_batch_norms_see_one_network_alone():
    method = method_of(batch_norm=True)
    lab = torch.randn(4, 3, 32, 32)
    changed = torch.cat([lab[:, :1], 5 * lab[:, 1:]], 1)
    with torch.no_grad():
        before, after = method.predict(lab), method.predict(changed)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_one_network_for_all_channels_is_refused():
    with pytest.raises(UsageError, match="was given one TinyBackbone"):
        SplitBrain(TinyBackbone(3))


def test_targets_are_bins_of_single_pixels():
    method = method_of(target_size=4).double().eval()
    images = torch.rand(3, 3, 16, 16).double()
    found = method.training_step(batch_of(images), 0)

    lab, bins = rgb_to_lab(images), ab_bins(dtype=torch.float64)
    color_logits, lightness_logits = method.predict(method.prepare(images))
    assert color_logits.shape == (3, 313, 4, 4)
    assert lightness_logits.shape == (3, 100, 4, 4)
    losses: list[list[Tensor]] = [[], []]
    for image in range(3):
        for row in range(4):
            for column in range(4):
                lightness, *ab = lab[image, :, 4 * row, 4 * column].tolist()
                nearest = min(range(313), key=lambda q: (bins[q] - torch.tensor(ab)).square().sum().item())
                targets = (nearest, min(99, int(lightness)))
                for kind, logits in enumerate((color_logits, lightness_logits)):
                    losses[kind].append(F.cross_entropy(logits[image, :, row, column], torch.tensor(targets[kind])))
    torch.testing.assert_close(found, sum(torch.stack(kind).mean() for kind in losses))


def test_white_is_in_the_last_bin_of_lightness():
    method = method_of(target_size=4)
    white = torch.ones(1, 3, 16, 16)
    assert rgb_to_lab(white)[0, 0].max() >= 99.99
    assert method.training_step(batch_of(white), 0).isfinite()


def test_a_name_makes_two_networks_of_half_an_image_each():
    method = SplitBrain("resnet18", stem="cifar", backbone_kwargs=NARROW, feature_layer="blocks.2")
    halves = (method.backbone.lightness, method.backbone.color)
    assert [half.conv1.in_channels for half in halves] == [1, 2]
    assert method(torch.rand(2, 3, 32, 32)).shape == (2, 16)
    assert method.hparams["backbone"] == "split/resnet18"
    again = SplitBrain(**{name: method.hparams[name] for name in ("backbone", "stem", "backbone_kwargs")})
    assert again.backbone.state_dict().keys() == method.backbone.state_dict().keys()


def test_evaluations_and_exports_see_one_network(tmp_path):
    method = SplitBrain("resnet18", stem="cifar", backbone_kwargs=NARROW).eval()
    encoder = load_encoder(method, device="cpu", image_size=32)
    assert encoder.preprocessing.in_chans == 3
    images = torch.rand(2, 3, 32, 32)
    assert encoder.num_features == encoder.network(images).shape[1] == 16
    maps = PooledMaps(encoder.network, encoder.backbone)
    maps(images)
    assert [shape[0] for shape in maps.shapes] == [128, 16, 16, 16, 16]  # the stem's 64 and 64, then stages
    with pytest.warns(UserWarning, match=r"but Lab, \(L - 50, a, b\) / 50"):
        path = export_backbone(method, tmp_path / "backbone.safetensors")
    loaded = load_backbone(path)
    assert isinstance(loaded, SplitNetwork)
    with torch.no_grad():
        torch.testing.assert_close(loaded(method.prepare(images)), method(images))


def test_reconstructions_and_examples_are_images():
    method, images = method_of().eval(), torch.rand(3, 3, 32, 32)
    for picture in (*method.reconstruct(images), *(shown.images for shown in SplitBrain.examples(images, None))):
        assert picture.shape == images.shape
        assert 0 <= picture.min() <= picture.max() <= 1
    gray, colors = (shown.images for shown in SplitBrain.examples(images, None))
    assert (gray[:, 0] - gray[:, 2]).abs().max() < 1e-3
    assert rgb_to_lab(colors)[:, 0].std() < 0.3 * rgb_to_lab(images)[:, 0].std()


def test_a_loader_that_normalizes_is_refused():
    with pytest.raises(UsageError, match=r"SplitBrain takes images in \[0, 1\]"):
        quiet_trainer(max_steps=1).fit(method_of(), noise_loader(8, 4, (32,)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: method_of(target_size=0), "target_size=0"),
        (lambda: method_of(bias_lr_scale=-1), "bias_lr_scale=-1"),
        (lambda: method_of(layer="layer9"), 'no layer "layer9"'),
        (lambda: method_of(feature_layer="blocks.9"), 'no layer "blocks.9"'),
        (lambda: SplitBrain("resnet18", in_chans=1), "takes the three channels of Lab"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()
