"""Other libraries' checkpoints that look like something else: they are told apart, asked about, or warned of."""

import warnings

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sslbolts import UsageError, export_backbone, load_backbone
from sslbolts.export import read_backbone
from tests.checkpoints.narrow import NarrowResNet18
from tests.checkpoints.test_foreign import IMAGES, as_children, head, lightning, resnet18, under
from tests.helpers.nets import TinyBackbone


def _own_module(stem, folder, *others, **hparams):
    """Somebody's Lightning module with a network and a linear layer, which is of no library."""
    network = resnet18(stem)
    tensors = {**under("backbone.", network.state_dict()), **head("classifier.weight", "classifier.bias", *others)}
    torch.save(lightning(tensors, **hparams), folder / "own.ckpt")
    return network


def test_a_classifier_beside_a_3x3_convolution_is_asked_about(tmp_path):
    network = _own_module("cifar", tmp_path)
    for name in (None, "narrow_resnet18"):
        with pytest.raises(UsageError, match=r'layout="solo-learn".*layout="backbone"'):
            load_backbone(tmp_path / "own.ckpt", backbone=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_backbone(tmp_path / "own.ckpt", layout="backbone")
        load_backbone(tmp_path / "own.ckpt", layout="solo-learn")
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_stem_that_weights_do_not_tell_is_warned_of(tmp_path):
    _own_module("cifar_pad2", tmp_path, "projector.0.weight")
    for read in (load_backbone, lambda path: export_backbone(path, tmp_path / "ours.safetensors")):
        with pytest.warns(UserWarning, match=r"own\.ckpt\" was read as solo-learn: its 3x3 first convolution pads 2"):
            read(tmp_path / "own.ckpt")
    _own_module("imagenet", tmp_path, "projector.0.weight")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone(tmp_path / "own.ckpt")


def test_a_hyperparameter_called_backbone_makes_no_checkpoint_ours(tmp_path):
    network = resnet18("cifar_pad2")
    tensors = {**under("backbone.", network.state_dict()), **head("classifier.bias", "projector.0.weight")}
    torch.save(lightning(tensors, backbone="resnet18"), tmp_path / "solo.ckpt")
    with pytest.warns(UserWarning, match="read as solo-learn"):
        read = read_backbone(tmp_path / "solo.ckpt")
    assert read.report.layout == "solo-learn"
    torch.testing.assert_close(read.network()(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_050", "timm/resnet18"])
def test_a_network_of_timm_by_name(name, tmp_path):
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name.rpartition("/")[2]).eval()
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    loaded = load_backbone(tmp_path / "theirs.pth", backbone=name)
    network.reset_classifier(0)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(loaded(images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny"])
def test_a_network_of_torchvision_by_name(name, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name).eval()
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    last = len(network.classifier) - 1
    read = read_backbone(tmp_path / "theirs.pth", backbone=f"torchvision/{name}")
    assert read.report.left_in_file == (f"classifier.{last}.weight", f"classifier.{last}.bias")
    network.classifier[last] = nn.Identity()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(read.network()(images), network(images), rtol=1e-4, atol=1e-5)


def test_a_network_that_cannot_be_inferred_or_is_another(tmp_path):
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "mobile.pth")
    with pytest.raises(UsageError, match="name the network"):
        load_backbone(tmp_path / "mobile.pth")
    with pytest.raises(UsageError, match=r"nothing of this ResNet matched .*missing conv1\.weight"):
        load_backbone(tmp_path / "mobile.pth", backbone="resnet18")
    tiny = TinyBackbone()
    save_file(dict(tiny.state_dict()), tmp_path / "tiny.safetensors")
    loaded = load_backbone(tmp_path / "tiny.safetensors", backbone=TinyBackbone())
    assert torch.equal(loaded(IMAGES), tiny(IMAGES))


class _SplitNorm(nn.BatchNorm2d):
    """As lightly's: statistics of each of several splits in training, of which evaluation takes the mean."""

    def __init__(self, width: int, splits: int) -> None:
        super().__init__(width)
        self.splits = splits
        self.running_mean, self.running_var = torch.zeros(width * splits), torch.ones(width * splits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = (sum(kept.chunk(self.splits)) / self.splits for kept in (self.running_mean, self.running_var))
        return nn.functional.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.1, self.eps)


def test_statistics_of_splits_are_united(tmp_path):
    network = NarrowResNet18(norm_layer=lambda width: _SplitNorm(width, 4)).eval()
    drawn = torch.Generator().manual_seed(0)
    for name, kept in network.named_buffers():
        if "running" in name:
            kept.copy_(torch.rand(kept.shape, generator=drawn) + 0.5)
    tensors = {**under("backbone.", as_children(network.state_dict())), **head("projection_head.layers.0.weight")}
    torch.save(lightning(tensors), tmp_path / "lightly.ckpt")
    read = read_backbone(tmp_path / "lightly.ckpt")
    assert "of each split" in read.report.note
    torch.testing.assert_close(read.network()(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
