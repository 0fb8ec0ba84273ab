"""Colorization: sight of lightness alone, weights of colors from the run's own images, and what is refused."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts import Colorization, UsageError, export_backbone
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation.encoder import load_encoder
from sslbolts.evaluation.layers.maps import PooledMaps
from sslbolts.losses import colorization
from sslbolts.methods.pretext.color_prior import ColorPrior
from sslbolts.transforms.lab import ab_bins, lab_to_rgb, rgb_to_lab, soft_codes
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def method_of(backbone: nn.Module | None = None, **arguments: Any) -> Colorization:
    torch.manual_seed(0)
    method = Colorization(backbone or TinyBackbone(1), **{"stride": 4, **arguments})
    method.log = lambda *args, **settings: None  # type: ignore[method-assign]
    return method


def batch_of(images: Tensor) -> ViewBatch:
    return ViewBatch([images], torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images)))


def recolored(images: Tensor, factor: float) -> Tensor:
    """Images of the same lightness, whose colors are turned and weaker."""
    lab = rgb_to_lab(images)
    return lab_to_rgb(torch.stack([lab[:, 0], -factor * lab[:, 2], factor * lab[:, 1]], 1))


def muted(number: int = 4, size: int = 32) -> Tensor:
    """Images whose colors stay within sRGB when they are turned."""
    return 0.4 + 0.2 * torch.rand(number, 3, size, size, generator=torch.Generator().manual_seed(1)).double()


# ---------------------------------------------------------------------------------- colors that cannot be copied


@pytest.mark.parametrize("training", [True, False])
def test_other_colors_of_the_same_lightness_change_no_logit(training):
    method = method_of(SmallConvNet(4, 8, in_chans=1), layer="layers").double().train(training)
    images = muted()
    others = recolored(images, 0.5)
    assert (images - others).abs().max() > 0.05
    with torch.no_grad():
        logits, features = method.predict_colors(method.lab(images)[:, :1], images.dtype), method(images)
        again, features_again = method.predict_colors(method.lab(others)[:, :1], images.dtype), method(others)
        darker = method.predict_colors(method.lab(images * 0.5)[:, :1], images.dtype)
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-5)  # L comes back but for rounded matrices
    torch.testing.assert_close(features_again, features, rtol=0, atol=1e-5)
    assert (darker - logits).abs().max() > 1e-3


def test_nothing_of_the_colors_has_a_gradient():
    method = method_of(SmallConvNet(4, 8, in_chans=1), layer="layers")
    lab = rgb_to_lab(muted().float()).requires_grad_()
    method.predict_colors(lab[:, :1], torch.float32).square().sum().backward()
    assert lab.grad[:, 0].abs().max() > 0
    assert not lab.grad[:, 1:].any()


def test_a_stem_for_colors_is_refused():
    with pytest.raises(UsageError, match="takes 3 channels: make it with in_chans=1"):
        method_of(TinyBackbone(3))
    with pytest.raises(UsageError, match="in_chans=2"):
        Colorization("resnet18", in_chans=2)
    for given in ({}, {"in_chans": 3}, {"in_chans": 1}):  # the command line gives the default
        assert Colorization("resnet18", stem="cifar", **given).backbone.conv1.in_channels == 1


# ------------------------------------------------------------------------------------- weights, and their source


def naive_prior(images: Tensor, stride: int, neighbors: int) -> Tensor:
    """The mean code of every stride-th pixel, one after the other."""
    lab = rgb_to_lab(images)
    total, pixels = torch.zeros(313, dtype=images.dtype), 0
    for image in lab:
        for row in range(0, image.shape[1], stride):
            for column in range(0, image.shape[2], stride):
                total += soft_codes(image[None, 1:, row, column], neighbors=neighbors)[0]
                pixels += 1
    return total / pixels


def test_the_prior_is_the_mean_code_of_all_pixels_so_far():
    method = method_of(neighbors=5).double()
    images = [torch.rand(number, 3, 16, 16).double() for number in (2, 5)]
    for number, batch in enumerate(images):
        method.training_step(batch_of(batch), number)
        method.colors.commit()
    torch.testing.assert_close(method.colors.prior, naive_prior(torch.cat(images), 4, 5), rtol=1e-9, atol=1e-12)
    assert method.colors.pixels.item() == 7 * 16
    assert method.colors.prior.sum().item() == pytest.approx(1)
    assert {"colors.prior", "colors.pixels"} <= method.state_dict().keys()


def test_the_loss_is_weighed_by_the_prior_from_before_the_step():
    method = method_of(lambd=0.25).double().eval()
    images = torch.rand(3, 3, 16, 16).double()
    unweighted = method.training_step(batch_of(images), 0)
    method.colors.commit()
    weighted = method.training_step(batch_of(images), 1)

    ab = rgb_to_lab(images)[:, 1:, ::4, ::4].permute(0, 2, 3, 1).reshape(-1, 2)
    logits = method.predict_colors(method.lab(images)[:, :1], images.dtype)
    assert logits.shape[2:] == (4, 4)
    logits = logits.permute(0, 2, 3, 1).reshape(-1, 313)
    codes = soft_codes(ab, neighbors=10)
    prior = naive_prior(images, 4, 10)
    there = int((prior > 0).sum())
    inverse = [1 / (0.75 * p + 0.25 / there) if p > 0 else 0.0 for p in prior.tolist()]
    scale = sum(p * w for p, w in zip(prior.tolist(), inverse))
    weights = torch.tensor([inverse[place] / scale for place in codes.argmax(1).tolist()]).double()
    torch.testing.assert_close(unweighted, colorization(logits, codes, torch.ones(len(codes)).double()))
    torch.testing.assert_close(weighted, colorization(logits, codes, weights))


def test_gray_images_weigh_nothing():
    method = method_of().double().eval()
    colorful = torch.rand(2, 3, 16, 16).double()
    gray = torch.rand(2, 1, 16, 16).double().expand(2, 3, 16, 16)
    alone = method.training_step(batch_of(colorful), 0)
    both = method.training_step(batch_of(torch.cat([colorful, gray])), 0)
    torch.testing.assert_close(both, alone / 2)  # the mean is over all pixels
    nothing = method.training_step(batch_of(gray), 0)
    nothing.backward()
    assert nothing == 0
    assert not any(p.grad.any() for p in method.parameters() if p.grad is not None)


def test_one_pixel_of_color_makes_an_image_count():
    method = method_of().eval()
    image = torch.full((1, 3, 16, 16), 0.5)
    image[0, :, 4, 8] = torch.tensor([1.0, 0.0, 0.0])  # of those that are predicted
    assert method.training_step(batch_of(image), 0) > 0
    hidden = torch.full((1, 3, 16, 16), 0.5)
    hidden[0, :, 5, 8] = torch.tensor([1.0, 0.0, 0.0])
    assert method.training_step(batch_of(hidden), 0) == 0


# ------------------------------------------------------------------------------------------ pictures, and health


class Certain(nn.Module):
    """Logits that name one bin everywhere."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, maps: Tensor) -> Tensor:
        logits = torch.full((len(maps), 313, *maps.shape[2:]), -50.0)
        logits[:, self.place] = 50.0
        return logits


def test_a_reconstruction_keeps_the_lightness_and_has_the_predicted_colors():
    method = method_of().eval()
    place = ab_bins().tolist().index([20.0, 10.0])
    method.head = Certain(place)
    images = muted(3).float()
    gray, colored = method.reconstruct(images)
    lab, found = rgb_to_lab(images), rgb_to_lab(colored)
    torch.testing.assert_close(rgb_to_lab(gray)[:, 1:], torch.zeros_like(lab[:, 1:]), rtol=0, atol=0.05)
    torch.testing.assert_close(rgb_to_lab(gray)[:, 0], lab[:, 0], rtol=0, atol=0.05)
    torch.testing.assert_close(found[:, 0], lab[:, 0], rtol=0, atol=0.05)
    expected = torch.tensor([20.0, 10.0])[:, None, None].expand_as(found[:, 1:])
    torch.testing.assert_close(found[:, 1:], expected, rtol=0, atol=0.1)


@pytest.mark.parametrize(("ab", "saturation"), [((30.0, 40.0), 1.0), ((0.0, 0.0), 0.0)])
def test_the_saturation_tells_colors_from_gray(ab, saturation):
    method, logged = method_of(), {}
    method.log = lambda name, value, *args, **settings: logged.update({name: float(value)})
    lab = torch.tensor([60.0, 30.0, 40.0]).view(1, 3, 1, 1).expand(2, 3, 16, 16)
    method.head = Certain(ab_bins().tolist().index(list(ab)))
    method.training_step(batch_of(lab_to_rgb(lab)), 0)
    assert logged["train/saturation"] == pytest.approx(saturation, abs=0.01)
    (indicator,) = (known for known in method.indicators if known.metric == "train/saturation")
    assert indicator.is_bad(logged["train/saturation"]) == (saturation == 0)


def test_examples_show_gray_images_and_their_colors():
    images = muted(3).float()
    gray, target = Colorization.examples(images, torch.Generator())
    assert (gray.images[:, 0] - gray.images[:, 2]).abs().max() < 1e-3
    assert target.images.shape == gray.images.shape == images.shape
    ab = rgb_to_lab(target.images)[:, 1:]
    assert (ab - (ab / 10).round() * 10).abs().max() < 0.1  # centers of bins
    assert len(gray.labels) == len(target.labels) == 3


# --------------------------------------------------------------------------------------- settings and evaluation


def test_biases_learn_twice_as_fast_and_are_not_decayed():
    weights, vectors = method_of(SmallConvNet(4, in_chans=1), layer="layers").parameter_groups()
    assert "lr_scale" not in weights
    assert (vectors["lr_scale"], vectors["weight_decay"]) == (2.0, 0.0)
    assert all(p.ndim == 1 for p in vectors["params"])


@pytest.mark.parametrize(("step", "lr"), [(239, 3e-5), (241, 1e-5), (301, 3e-6), (401, 1e-6)])
def test_the_learning_rate_falls_as_published(step, lr):
    method = method_of()
    assert 3e-5 * method.lr_factor(step, total=450, warmup=0) == pytest.approx(lr, rel=0.06)
    assert 3e-5 * method.lr_factor(step, total=450, warmup=0) == pytest.approx(
        3e-5 * 0.1 ** (round(math.log10(3e-5 / lr) * 2) / 2)
    )


def test_evaluations_give_it_rgb_images():
    method = Colorization("resnet18", stem="cifar", backbone_kwargs={"channels": [8, 8, 8, 8]}, feature_layer="layer2")
    encoder = load_encoder(method, device="cpu", image_size=32)
    assert encoder.preprocessing.in_chans == 3
    images = torch.rand(2, 3, 32, 32)
    assert encoder.network(images).shape == (2, 8)
    assert [len(rows) for rows in PooledMaps(encoder.network, encoder.backbone)(images)] == [2] * 5


def test_an_exported_backbone_says_what_it_takes(tmp_path):
    method = Colorization("resnet18", stem="cifar", backbone_kwargs={"channels": [8, 8, 8, 8]})
    with pytest.warns(UserWarning, match=r"takes no RGB images but lightness, \(L - 50\) / 50"):
        path = export_backbone(method, tmp_path / "backbone.safetensors")
    with pytest.raises(UsageError, match="how they were normalized is not known"):
        load_encoder(path, device="cpu").normalization()


# ------------------------------------------------------------------------------------------------ images in [0, 1]


def test_images_are_in_unit_range_in_training_and_evaluation():
    data = CIFAR10MiniDataModule(views="colorization", batch_size=16, num_workers=0)
    seen = {}

    class Watched(Colorization):
        def lab(self, images: Tensor) -> Tensor:
            seen[self.training] = (images.min().item(), images.max().item())
            return super().lab(images)

    method = Watched(TinyBackbone(1), stride=4)
    quiet_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1).fit(method, datamodule=data)
    for least, most in (seen[True], seen[False]):
        assert 0 <= least < 0.1
        assert 0.9 < most < 1 + 1e-5


def test_a_datamodule_that_normalizes_is_refused():
    data = CIFAR10MiniDataModule(views="mae", batch_size=16, num_workers=0)
    with pytest.raises(UsageError, match=r"CIFAR10MiniDataModule normalizes them: give it views= with normalize=False"):
        quiet_trainer(max_steps=1).fit(method_of(), datamodule=data)


def test_a_loader_that_normalizes_is_refused_at_its_first_batch():
    with pytest.raises(UsageError, match=r"takes images in \[0, 1\], but these are in \[-"):
        quiet_trainer(max_steps=1).fit(method_of(), noise_loader(8, 4, (32,)))


def test_normalized_images_are_refused_in_evaluation_too():
    method = method_of().eval()
    with pytest.raises(UsageError, match=r"these are in \[-"):
        method(torch.randn(2, 3, 32, 32))
    with pytest.raises(UsageError, match="these have 1 channels"):
        method(torch.rand(2, 1, 32, 32))
    method(torch.rand(2, 3, 32, 32))


def test_gray_data_is_refused():
    gray = CIFAR10MiniDataModule(views="colorization", num_workers=0)
    gray.in_chans = 1
    with pytest.raises(UsageError, match="sees colors, but the data has in_chans=1"):
        quiet_trainer(max_steps=1).fit(method_of(), datamodule=gray)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: method_of(stride=0), "stride=0"),
        (lambda: method_of(neighbors=400), "there are 313 bins"),
        (lambda: method_of(lambd=1.5), "lambd=1.5"),
        (lambda: method_of(temperature=0), "temperature=0"),
        (lambda: method_of(layer="layers.9"), 'no layer "layers.9"'),
        (lambda: method_of(layer="dropout"), "not maps"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_a_memory_of_colors_counts_sets_by_their_pixels():
    colors = ColorPrior(2)
    colors.stage(torch.tensor([[1.0, 0.0]]), torch.tensor([30]))
    colors.stage(torch.tensor([[0.0, 1.0]]), torch.tensor([10]))
    assert not colors.prior.any()
    colors.commit()
    assert colors.prior.tolist() == [0.75, 0.25]
