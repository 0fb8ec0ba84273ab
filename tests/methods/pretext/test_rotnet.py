"""RotNet: size and maps of the official networks, four rotations of every image, and what would give them away."""

import math
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts import RotNet, UsageError
from sslbolts._lightning import Trainer
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import OnlineLinearProbe
from sslbolts.networks.alexnet import AlexNetBN
from sslbolts.networks.nin import NIN
from sslbolts.networks.taps import block_names, feature_maps
from sslbolts.transforms import BatchedAugment, recipe
from sslbolts.transforms.rotations import rotation_labels, rotations
from tests.golden.reference import architectures
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for p in chain.from_iterable(module.parameters() for module in modules))


def test_the_networks_have_the_official_numbers_of_parameters():
    with torch.device("meta"):
        four, five, imagenet = RotNet(NIN(4)), RotNet(NIN(5)), RotNet(AlexNetBN())
        supervised = parameters(NIN(3), nn.Linear(192, 10))
    assert parameters(four) == architectures()["rotnet_nin4_cifar(own build from the spec)"]["total"] == 1_411_140
    assert (parameters(five), supervised, parameters(imagenet)) == (1_817_796, 1_005_642, 57_030_724)


def test_the_maps_are_the_official_ones():
    nin, alexnet = NIN(4).eval(), AlexNetBN().eval()
    assert block_names(nin) == ["block1", "block2", "block3", "block4"]
    maps = feature_maps(nin, block_names(nin), torch.zeros(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 16, 16), (192, 8, 8), (192, 8, 8), (192, 8, 8)]
    maps = feature_maps(alexnet, block_names(alexnet), torch.zeros(1, 3, 224, 224))
    widths, sides = (64, 192, 384, 256, 256), (55, 27, 13, 13, 13)
    assert [tuple(m.shape[1:]) for m in maps] == [(width, side, side) for width, side in zip(widths, sides)]


def test_the_network_starts_as_torch_has_it():
    torch.manual_seed(0)
    for layer in (layer for layer in RotNet(NIN(4)).modules() if isinstance(layer, nn.Conv2d | nn.Linear)):
        bound = layer.weight[0].numel() ** -0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound


class Kept(TinyBackbone):
    """Keeps what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return super().forward(x)


def _fit(method: RotNet, views: Tensor, *, steps: int = 1, **settings: Any) -> Trainer:
    class Loader:
        def __iter__(self):
            batch = ViewBatch([views], torch.arange(len(views)) % 4, torch.arange(len(views)))
            return iter([batch] * steps)

        def __len__(self) -> int:
            return steps

    trainer = quiet_trainer(max_epochs=1, **settings)
    trainer.fit(method, Loader())
    return trainer


def test_a_step_sees_every_image_in_its_four_rotations():
    method, views = RotNet(Kept(), lr_scaling="none"), torch.randn(3, 3, 8, 8)
    _fit(method, views)
    seen = method.backbone.seen
    for quarters in range(4):
        expected = views
        for _ in range(quarters):
            expected = expected.transpose(2, 3).flip(2)  # a quarter counter-clockwise
        assert torch.equal(seen[3 * quarters : 3 * quarters + 3], expected)


def test_probes_match_rows_to_the_labels_of_their_images():
    """Images of one color each, a color for each class, which a probe tells apart in any rotation."""
    colors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    views, probe = colors.repeat(2, 1)[:, :, None, None].expand(-1, -1, 8, 8), OnlineLinearProbe(num_classes=4)
    trainer = _fit(RotNet(TinyBackbone(), lr_scaling="none"), views, steps=100, callbacks=[probe])
    assert trainer.callback_metrics["probe/train_top1"] > 0.8


def test_images_of_one_color_stay_at_a_quarter():
    torch.manual_seed(0)
    method, views = RotNet(TinyBackbone(), lr_scaling="none"), torch.rand(8, 3, 1, 1).expand(-1, -1, 16, 16)
    _fit(method, views, steps=20)
    with torch.no_grad():
        logits, labels = method.classify(rotations(views)), rotation_labels(len(views))
    assert (logits.argmax(1) == labels).float().mean() == 0.25
    assert nn.functional.cross_entropy(logits, labels).item() >= math.log(4) - 1e-6


def fitted_accuracy(x: Tensor, labels: Tensor, held_out: int) -> float:
    """Of a linear classifier by least squares with a small penalty, on rows that it was not fitted to."""
    x, targets = torch.cat([x.double(), torch.ones(len(x), 1)], 1), nn.functional.one_hot(labels).double()
    train, test = slice(None, -held_out), slice(-held_out, None)
    weight = torch.linalg.solve(x[train].T @ x[train] + torch.eye(x.shape[1]), x[train].T @ targets[train])
    return ((x[test] @ weight).argmax(1) == labels[test]).float().mean().item()


def upright_images(count: int) -> Tensor:
    """Noise under a bright upper edge, as the sky is above."""
    images = 0.1 * torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[:, :, :2] += 1
    return images


@pytest.mark.parametrize(("flip_after", "reached"), [(False, 1.0), (True, 0.75)])
def test_a_flip_after_the_rotation_limits_the_accuracy_to_three_quarters(flip_after, reached):
    rows = rotations(upright_images(300))
    if flip_after:  # of every second image, in each rotation
        rows = torch.where((torch.arange(len(rows)) // 4 % 2 == 0)[:, None, None, None], rows.flip(-1), rows)
    found = fitted_accuracy(rows.flatten(1), rotation_labels(300), held_out=400)
    assert found == pytest.approx(reached, abs=0.04)


@pytest.mark.parametrize("size", [32, 96], ids=["border", "crop"])
def test_borders_and_mean_colors_of_noise_tell_no_rotation(size):
    """The recipe's black border and the interpolation of its crops are turned too, and look the same from all sides."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1200, 3, 32, 32), generator=generator, dtype=torch.uint8)
    view = recipe("rotnet", size).views[0]
    views = BatchedAugment(view)(images if size == 32 else images[:600], generator=generator)
    rows, labels = rotations(views), rotation_labels(len(views))
    border = torch.cat([rows[:, :, 0], rows[:, :, -1], rows[..., 0], rows[..., -1]], 2).flatten(1)
    details = (rows.diff(dim=2).square().mean((1, 2, 3)), rows.diff(dim=3).square().mean((1, 2, 3)))
    x = torch.cat([border, rows.mean((2, 3)), torch.stack(details, 1)], 1)
    held_out = len(rows) // 2
    error = (0.25 * 0.75 / held_out) ** 0.5
    assert fitted_accuracy(x, labels, held_out) == pytest.approx(0.25, abs=4 * error)


def test_the_middle_block_is_what_is_evaluated():
    method, images = RotNet(NIN(3, widths=(4, 5, 6), width=7), feature_layer="block2").eval(), torch.rand(2, 3, 32, 32)
    network = method.backbone
    expected = network.block2(network.block1(images)).mean((2, 3))
    torch.testing.assert_close(method(images), expected)


def test_the_learning_rate_falls_to_a_fifth_at_each_milestone():
    """Of 200 epochs at 60, 120 and 160, as the official configuration for CIFAR has it."""
    method = RotNet(TinyBackbone())
    factors = [method.lr_factor(step, total=200, warmup=0) for step in (0, 59, 60, 119, 120, 159, 160, 199)]
    assert factors == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008])


def test_all_parameters_are_decayed():
    (group,) = RotNet(NIN(2, widths=(4, 5, 6), width=7)).parameter_groups()
    assert len(group["params"]) == 3 * 6 + 2
    assert group.get("weight_decay") is None


def test_examples_are_the_four_rotations():
    images = torch.rand(2, 3, 8, 8)
    shown = RotNet.examples(images, torch.Generator())
    assert [column.labels for column in shown] == [[f"{angle}°"] * 2 for angle in (0, 90, 180, 270)]
    assert torch.equal(torch.stack([column.images for column in shown], 1).flatten(0, 1), rotations(images))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RotNet("resnet18", feature_layer="layer9"), 'no layer "layer9".*another feature_layer'),
        (lambda: RotNet("resnet18", milestone_factor=0), "milestone_factor=0: it must be positive"),
        (lambda: NIN(1), "blocks=1"),
        (lambda: NIN(widths=(8, 8)), r"widths=\(8, 8\): the first block has three convolutions"),
        (lambda: NIN(widths=(8, 0, 8)), "widths=0"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_two_views_are_refused():
    with pytest.raises(UsageError, match="RotNet takes 1 views of each image, and the batch has 2"):
        quiet_trainer(max_steps=1).fit(RotNet(TinyBackbone()), noise_loader(8, 4))
