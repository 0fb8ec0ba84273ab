"""Counting: its network, the parts of an image, other images, the defenses against shortcuts, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts import Counting, UsageError
from sslbolts.methods.pretext.counting import whole_and_tiles
from sslbolts.transforms import recipe
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def method(**arguments: Any) -> Counting:
    return Counting(**{"backbone": TinyBackbone(), "num_counts": 6, **arguments})


def step(module: Counting, images: Tensor, seed: int = 0) -> dict[str, float]:
    """Everything that a training step logs."""
    logged: dict[str, Any] = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    module.generator = lambda *_, device: torch.Generator().manual_seed(seed)  # type: ignore[method-assign]
    batch = next(iter(noise_loader(2, 2, (4,))))._replace(views=[images])
    module.training_step(batch, 0)
    return logged


def test_the_papers_network_is_alexnet():
    with torch.device("meta"):
        module = Counting()
    assert sum(p.numel() for p in module.parameters()) == 61_100_840
    assert module.head[0].out_features == 1000


def test_an_image_is_cut_into_its_quarters():
    images = torch.rand(3, 3, 8, 12)
    patches = whole_and_tiles(images, torch.zeros(3, dtype=torch.int64), torch.zeros(3, 5, 3))
    for image, (small, *tiles) in zip(images, patches):
        expected = [image[:, top : top + 4, left : left + 6] for top in (0, 4) for left in (0, 6)]
        assert all(torch.equal(tile, quarter) for tile, quarter in zip(tiles, expected, strict=True))
        for row in range(4):
            for column in range(6):
                mean = image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2))
                torch.testing.assert_close(small[:, row, column], mean)


class Sums(nn.Module):
    """The sum of each channel's pixels."""

    num_features = 3

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def test_loss_is_that_of_a_loop_and_the_other_image_is_the_one_before():
    module = method(backbone=Sums(), num_counts=3, color_shift=0.0, margin=50.0)
    with torch.no_grad():
        module.head[0].weight.copy_(torch.eye(3))
        module.head[0].bias.zero_()
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.1, 0.2], [0.9, 0.5, 0.1]])
    images = values[:, :, None, None].expand(3, 3, 8, 8)  # flat, so that all filters agree
    logged = step(module, images)
    losses, active, counts = [], 0, 0.0
    for number in range(3):
        total = values[number] * 64  # of the four quarters
        same = ((values[number] * 16 - total) ** 2).sum().item()
        other = ((values[number - 1] * 16 - total) ** 2).sum().item()
        losses.append(same + max(0.0, 50.0 - other))
        active += other < 50.0
        counts += 5 * (values[number] * 16).sum().item()  # of the whole and four quarters of 16 pixels each
    assert logged["train/loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert logged["train/active_hinges"] == pytest.approx(active / 3)
    assert logged["train/mean_count"] == pytest.approx(counts / (3 * 5 * 3), rel=1e-5)
    assert logged["train/zero_units"] == 0


def test_counts_that_vanish_have_the_margin_as_loss():
    module = method(margin=7.0)
    with torch.no_grad():
        module.head[0].weight.zero_()
        module.head[0].bias.zero_()
    logged = step(module, torch.rand(4, 3, 16, 16))
    assert logged["train/loss"] == 7.0
    assert (logged["train/mean_count"], logged["train/zero_units"], logged["train/active_hinges"]) == (0, 1, 1)


def test_counts_are_never_negative():
    assert method().counts(torch.randn(4, 5, 3, 8, 8)).min() >= 0


def matching_by_mean_color(color_shift: float, images: Tensor) -> float:
    """How often the sum of the tiles' mean colors is nearest to that of its own image, four times."""
    shifts = (torch.rand(len(images), 5, 3) * 2 - 1) * color_shift
    means = whole_and_tiles(images, torch.zeros(len(images), dtype=torch.int64), shifts).mean((3, 4))
    nearest = torch.cdist(means[:, 1:].sum(1), 4 * means[:, 0]).argmin(1)
    return float((nearest == torch.arange(len(images))).float().mean())


def test_mean_colors_of_noise_do_not_tell_the_parts_of_an_image_once_they_are_shifted():
    torch.manual_seed(0)
    images = torch.randn(200, 3, 32, 32)
    assert matching_by_mean_color(0.0, images) == 1.0
    assert matching_by_mean_color(method().color_shift, images) < 0.1


def test_the_patches_of_an_image_are_shifted_on_their_own():
    seen: list[Tensor] = []
    module = method()
    module.counts = lambda patches: seen.append(patches) or torch.rand(*patches.shape[:2], 6)  # type: ignore
    step(module, torch.zeros(50, 3, 8, 8))
    shifts = seen[0].flatten(3)
    assert torch.equal(shifts.amin(3), shifts.amax(3))  # one number per patch and channel
    shifts = shifts[..., 0].reshape(50, 15)
    assert 0.095 < shifts.abs().max() <= 0.1
    assert shifts.corrcoef().shape == (50, 50)
    assert (shifts.T.corrcoef() - torch.eye(15)).abs().max() < 0.5  # of 50 images; 1 if patches shared them


def test_the_energy_of_edges_does_not_tell_the_halved_image_from_its_tiles():
    """With one filter it has a fixed ratio in noise; with a filter drawn for each image, any of four."""
    torch.manual_seed(0)
    images = torch.randn(100, 3, 64, 64)

    def ratios(filters: Tensor) -> Tensor:
        patches = whole_and_tiles(images, filters, torch.zeros(100, 5, 3))
        energy = patches.diff(dim=-1).square().mean((2, 3, 4))
        return energy[:, 0] / energy[:, 1:].mean(1)

    fixed, drawn = ratios(torch.zeros(100, dtype=torch.int64)), ratios(torch.arange(100) % 4)
    assert fixed.std() / fixed.mean() < 0.06
    assert drawn.std() / drawn.mean() > 0.4


def test_all_filters_are_drawn(monkeypatch):
    seen: list[Tensor] = []
    monkeypatch.setattr(
        "sslbolts.methods.pretext.counting.whole_and_tiles",
        lambda images, filters, shifts: seen.append(filters) or torch.zeros(len(images), 5, 3, 8, 8),
    )
    step(method(), torch.zeros(200, 3, 16, 16))
    assert (torch.bincount(seen[0], minlength=4) > 25).all()


def test_most_images_are_gray_in_all_their_patches():
    """So the colored fringes of a lens tell nothing."""
    assert [view.grayscale_p for view in recipe("counting", 228).views] == [0.67]
    gray = torch.rand(4, 1, 16, 16).expand(4, 3, 16, 16)
    patches = whole_and_tiles(gray, torch.arange(4), torch.zeros(4, 5, 3))
    assert torch.equal(patches[:, :, 0], patches[:, :, 2])


def test_examples_are_what_the_network_is_shown():
    images = torch.rand(2, 3, 16, 16)
    whole, *parts = Counting.examples(images, torch.Generator().manual_seed(0))
    assert [column.images.shape for column in (whole, *parts)] == [(2, 3, 8, 8)] * 5
    assert all(label.startswith("all, ") for label in whole.labels)
    assert parts[3].labels == ["part 4", "part 4"]
    difference = parts[0].images - images[:, :, :8, :8]
    assert 0 < difference.abs().max() <= 0.1 + 1e-6


def test_features_are_those_of_the_layer_that_is_named():
    module, images = method(backbone=SmallConvNet(), feature_layer="layers.5").eval(), torch.rand(2, 3, 32, 32)
    expected = module.backbone.layers[:6](images).mean((2, 3))
    torch.testing.assert_close(module(images), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"margin": 0.0}, "margin=0.0: it must be positive"),
        ({"num_counts": 0}, "num_counts=0"),
        ({"color_shift": -0.1}, "color_shift=-0.1"),
        ({"feature_layer": "layers.9"}, 'no layer "layers.9"'),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        method(**arguments)


@pytest.mark.parametrize(("images", "size", "words"), [(8, 15, "even image_size"), (1, 16, "batch_size=1 has none")])
def test_wrong_batches(images, size, words):
    with pytest.raises(UsageError, match=words):
        quiet_trainer(max_steps=1).fit(method(), noise_loader(8, min(images, 4), (size,)))
