"""Relative patch position: the official networks, pairs, colors and schedule; what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from sslbolts import RelativePosition, UsageError
from sslbolts.methods.pretext.neighbors import DIRECTIONS, relative_pairs
from sslbolts.networks.patch_towers import ContextFreeNetwork, DeepContext, pair_head
from sslbolts.transforms.color_defenses import lower_sides
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.methods.pretext.tiles import coordinates, noise

SMALL = {"patch_size": 8, "cell_size": 10, "jitter": 2, "hidden_dim": 8}


def relative_position(**arguments: Any) -> RelativePosition:
    return RelativePosition(TinyBackbone(), **SMALL | arguments)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_networks_have_the_official_number_of_parameters():
    with torch.device("meta"):
        method = RelativePosition()
        patches = method.backbone(torch.empty(2, 3, 96, 96, device="meta"))
    assert sum(p.numel() for p in method.backbone.parameters()) == 13_188_480
    assert sum(p.numel() for p in method.head.parameters()) == 50_372_616
    assert patches.shape == (2, 4096)


def test_the_maps_of_a_patch_are_the_official_ones():
    shapes = {}
    with torch.device("meta"):
        network = DeepContext()
        for name, layer in network.named_children():
            layer.register_forward_hook(lambda _, args, output, name=name: shapes.update({name: output.shape[1:]}))
        network(torch.empty(2, 3, 96, 96, device="meta"))
    assert [tuple(shapes[name]) for name in ("conv1", "conv2", "conv5", "pool5")] == [
        (96, 24, 24),
        (256, 12, 12),
        (256, 6, 6),
        (256, 3, 3),
    ]


@pytest.mark.parametrize(("network", "width"), [(DeepContext, 4096), (ContextFreeNetwork, 2304)])
@pytest.mark.parametrize("side", [32, 64, 224])
def test_the_networks_take_whole_images(network, width, side):
    with torch.device("meta"):
        assert network().eval()(torch.empty(2, 3, side, side)).shape == (2, width)


def test_weights_start_uniform_and_batch_norm_has_no_scale():
    torch.manual_seed(0)
    network, head = DeepContext(), pair_head(16, 64, original=True)
    for layer in (*network.modules(), *head.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = (3 / layer.weight[0].numel()) ** 0.5
            assert 0.98 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()
    norms = [
        layer for layer in (*network.modules(), *head.modules()) if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    assert len(norms) == 5  # conv3 to conv5, fc6 and fc7
    assert not any(norm.affine for norm in norms)


def test_the_other_head_starts_as_in_revisiting():
    torch.manual_seed(0)
    first, norm, _, dropout, last = pair_head(1000, 512, original=False, dropout=0.5)
    assert first.weight.abs().max() <= 0.01
    assert first.weight.std().item() == pytest.approx(0.005 * 0.88, rel=0.01)  # cut at two deviations
    assert (first.bias == 0.1).all()
    assert (1 - norm.momentum, norm.eps, dropout.p, last.out_features) == (0.997, 1e-5, 0.5, 8)


def test_all_ordered_neighbors_are_pairs_and_straight_ones_are_more():
    pairs = relative_pairs(3, 3)
    assert pairs[:, 2].bincount().tolist() == [4, 6, 4, 6, 6, 4, 6, 4]
    labels = {(first, second): label for first, second, label in pairs.tolist()}
    assert len(labels) == 40
    assert all(labels[second, first] == 7 - label for (first, second), label in labels.items())
    assert relative_position().chance == pytest.approx(0.15)
    central = relative_position(pairs="center")
    assert central.pairs.tolist() == [[4, cell, label] for label, cell in enumerate((0, 1, 2, 3, 5, 6, 7, 8))]
    assert central.chance == 1 / 8


def test_labels_are_the_directions_between_the_pixels_that_are_cut():
    """Expected labels come from the coordinates in the patches themselves."""
    method = relative_position(grid=4, cell_size=10)
    method.colors, method.low_resolution_p = "none", 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslbolts.methods.pretext.relative_position.drop_colors", lambda patches, *_: patches)
        patches = method.draw_patches(coordinates(5, 45), generator())
    seen = set()
    for first, second, label in method.pairs.tolist():
        for image in range(5):
            one, other = patches[first, image], patches[second, image]
            assert one[2].unique().tolist() == other[2].unique().tolist() == [image]
            down, right = ((other[axis].mean() - one[axis].mean()).item() for axis in (0, 1))
            words = [
                "up" if down < -5 else "down" if down > 5 else "",
                "left" if right < -5 else "right" if right > 5 else "",
            ]
            assert " ".join(filter(None, words)) == DIRECTIONS[label]
            seen.add(label)
    assert seen == set(range(8))


def test_patches_of_the_paper_never_touch():
    grid = RelativePosition(TinyBackbone()).grid
    assert (grid.tile_size, grid.cell_size, grid.jitter) == (96, 144, 14)  # -7 to 7, from -7 on
    assert grid.cell_size - grid.tile_size >= grid.jitter + 1


def test_the_grid_and_every_patch_are_moved_as_far_as_there_is_room():
    method = relative_position(colors="standardize", low_resolution_p=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslbolts.methods.pretext.relative_position.standardize", lambda patches: patches)
        patches = method.draw_patches(coordinates(400, 33), generator())
    corners = patches[:, :, :2, 0, 0]
    assert [corners[0].min().item(), corners[0].max().item()] == [0, 5]  # 3 of the grid, 2 of the patch
    assert [corners[8].min().item(), corners[8].max().item()] == [20, 25]
    inside = corners[1] - corners[0]  # two patches of one image, each moved on its own
    assert inside[:, 0].unique().tolist() == [-2, -1, 0, 1, 2]
    assert inside[:, 1].unique().tolist() == [8, 9, 10, 11, 12]


def test_two_of_three_images_are_gray_with_all_their_patches():
    method = relative_position(grayscale_p=0.66, colors="standardize", low_resolution_p=0.0)
    patches = method.draw_patches(noise(600, 32), generator())
    gray = (patches - patches[:, :, :1]).abs().amax((2, 3, 4)) < 1e-6
    assert torch.equal(gray.all(0), gray.any(0))
    assert gray[0].float().mean() == pytest.approx(0.66, abs=0.06)


def test_the_channel_that_is_kept_is_drawn_for_every_patch():
    """Doersch et al., section 3.2: of each patch, two of three channels are replaced by weak noise, at random."""
    patches = relative_position(low_resolution_p=0.0).draw_patches(noise(40, 32), generator())  # (T, B, C, s, s)
    kept = patches.std((3, 4)).argmax(2)  # (T, B)
    assert kept.flatten().bincount(minlength=3).min() > 0.25 * kept.numel()
    # Of 9 draws among three channels, one is missing in 8 % of the cases.
    assert sum(len(set(of_image)) == 3 for of_image in kept.T.tolist()) > 30
    assert all(len(set(of_place)) == 3 for of_place in kept.tolist())


def test_a_third_of_the_patches_lose_their_resolution_as_in_the_official_code():
    method = RelativePosition(TinyBackbone(), patch_size=96, cell_size=96, jitter=0, grid=2, hidden_dim=8)
    sharp = []
    for low in (0.33, 0.0):
        method.low_resolution_p = low
        patches = method.draw_patches(noise(25, 192), generator())
        # The drawn patches differ in their noise alone, which changes nothing of a pixel's neighbors.
        kept = patches.flatten(3).std(3).argmax(2)
        channel = patches.gather(2, kept[:, :, None, None, None].expand(-1, -1, 1, 96, 96)).squeeze(2)
        sharp.append((channel[..., 1:] - channel[..., :-1]).square().mean((2, 3)) / channel.square().mean((2, 3)))
    lost = (sharp[0] < 0.9 * sharp[1].mean()).float().mean()
    assert lost == pytest.approx(0.33, abs=0.1)


def test_lower_resolutions_are_those_of_the_official_code():
    sides = lower_sides(torch.rand(20000, generator=generator()), 96)
    assert (sides.min(), sides.max()) == (10, 94)
    assert int(sides.float().mean()) == 63


def test_the_learning_rate_is_the_papers_on_the_sum_of_all_pairs():
    method = RelativePosition(TinyBackbone(), hidden_dim=8)
    (group,) = method.optimizer([nn.Parameter(torch.zeros(1))]).param_groups
    images = 56  # 504 patches
    assert group["lr"] * images / 256 == pytest.approx(1e-5 * len(method.pairs) * images)
    assert {method.lr_factor(step, total=1000, warmup=0) for step in (0, 500, 999)} == {1.0}


def test_the_head_has_a_decay_of_its_own():
    method = relative_position(head="revisiting", patch_dim=4, head_weight_decay=5e-4)
    groups = method.parameter_groups()
    decays = {id(p): group.get("weight_decay") for group in groups for p in group["params"]}
    assert len(decays) == sum(len(group["params"]) for group in groups) == len(list(method.parameters()))
    for name, parameter in method.named_parameters():
        kernel = 5e-4 if name.startswith("head") else None  # the optimizer's
        assert decays[id(parameter)] == (kernel if parameter.dim() > 1 else 0.0), name


def test_features_are_of_whole_images_with_the_colors_of_patches():
    images = noise(2, 32)
    for colors in ("drop", "standardize"):
        method = relative_position(colors=colors).eval()
        torch.testing.assert_close(method(images), method(0.5 * images), rtol=1e-4, atol=1e-5)
    shown = relative_position().prepare(images)
    assert shown[:, 1].std() > 50
    assert not shown[:, ::2].any()


def test_examples_name_the_place_of_the_neighbor():
    center, neighbor = RelativePosition.examples(coordinates(40, 32), generator())
    assert center.labels == ["center"] * 40
    for one, other, label in zip(center.images, neighbor.images, neighbor.labels):
        down, right = ((other[axis].mean() - one[axis].mean()).item() for axis in (0, 1))
        assert ("up" in label, "down" in label) == (down < -5, down > 5)
        assert ("left" in label, "right" in label) == (right < -5, right > 5)
    assert set(neighbor.labels) == set(DIRECTIONS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patch_size": 11}, "11 pixels that is moved by up to jitter=2, does not fit into cells of cell_size=10"),
        ({"jitter": 3}, "jitter=3, does not fit"),
        ({"pairs": "center", "grid": 4}, "grid=4: the central patch"),
        ({"dropout": 0.5}, 'dropout=0.5 has no effect with head="original"'),
        ({"backbone": "sslbolts/deepcontext", "stem": "cifar"}, 'stem="cifar" is for ResNets'),
        ({"backbone": "sslbolts/cfn", "backbone_kwargs": {"depth": 3}}, "Jigsaw's network does not take these"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        RelativePosition(**{"backbone": TinyBackbone()} | SMALL | arguments)


def test_images_that_are_too_small_are_refused_when_training_starts():
    with pytest.raises(UsageError, match="take 30 pixels, with what they are moved, and the images have 24"):
        quiet_trainer(max_steps=1).fit(relative_position(), noise_loader(8, 4, (24,)))
