"""Jigsaw: permutations, tiles, the official network and its optimizer; what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from sslbolts import Jigsaw, UsageError
from sslbolts.methods.pretext.jigsaw import puzzle
from sslbolts.methods.pretext.permutations import all_permutations, farthest_first, permutation_set
from sslbolts.networks.patch_towers import ContextFreeNetwork, puzzle_head, tile_head
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.methods.pretext.tiles import coordinates, noise

SMALL = {"tile_size": 8, "cell_size": 10, "jitter": 1, "channel_shift": 1, "num_permutations": 12, "tile_dim": 4}


def jigsaw(backbone: nn.Module | None = None, **arguments: Any) -> Jigsaw:
    return Jigsaw(backbone or TinyBackbone(), **{"hidden_dim": 8, **SMALL, **arguments})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distances(permutations: torch.Tensor) -> list[int]:
    rows = permutations.tolist()
    return [sum(a != b for a, b in zip(p, q)) for i, p in enumerate(rows) for j, q in enumerate(rows) if i != j]


@pytest.mark.parametrize(("count", "mean"), [(9, 9), (10, 8.8), (18, 8.4706), (30, 8.2552), (50, 8.1551), (100, 8.08)])
def test_permutations_are_as_far_apart_as_the_published_ones(count, mean):
    found = distances(permutation_set(9, count))
    assert sum(found) / len(found) == pytest.approx(mean, abs=1e-4)
    assert min(found) >= 2


def test_the_first_nine_are_a_latin_square_and_places_stay_balanced():
    found = permutation_set(9, 100)
    square = found[:9]
    everything = torch.arange(9).expand(9, 9)
    assert torch.equal(square.sort(0).values.t(), everything)
    assert torch.equal(square.sort(1).values, everything)
    for count in (18, 30, 50, 100):
        for place in found[:count].t():
            times = place.bincount(minlength=9)
            assert times.max() - times.min() <= 2


def test_every_permutation_is_one_of_the_farthest_from_those_before():
    every = all_permutations(4)
    assert sorted(map(tuple, every.tolist())) == list(map(tuple, every.tolist()))
    assert len(every.unique(dim=0)) == 24
    chosen = farthest_first(every, 24, first=5).tolist()
    assert chosen[0] == 5
    assert sorted(chosen) == list(range(24))
    for n in range(1, 24):
        far = {
            row: sum(a != b for one in chosen[:n] for a, b in zip(every[row].tolist(), every[one].tolist()))
            for row in set(range(24)) - set(chosen[:n])
        }
        assert far[chosen[n]] == max(far.values())


def test_tiles_are_where_the_permutation_of_the_label_says():
    method = jigsaw(colors="none", grayscale_p=0.0, projection_p=0.0, channel_shift=0)
    tiles = method.draw_tiles(coordinates(6, 32), generator())
    labels = torch.tensor([0, 3, 11, 5, 7, 2])
    shuffled = puzzle(tiles, method.permutations[labels])
    for image, label in enumerate(labels.tolist()):
        for place in range(9):
            rows, columns, number = shuffled[place, image]
            assert number.unique().tolist() == [image]
            # The grid is moved by up to 2 pixels and the tile by 1, so that tiles of a cell start within it.
            cell = 3 * int((rows[0, 0] - 1) / 10 + 0.2) + int((columns[0, 0] - 1) / 10 + 0.2)
            assert cell == method.permutations[label, place]


def test_several_puzzles_of_an_image_are_made_of_the_same_tiles():
    tiles, orders = torch.rand(9, 4, 5), torch.stack([torch.randperm(9) for _ in range(12)]).view(3, 4, 9)
    found = puzzle(tiles, orders)
    for number in range(3):
        for image in range(4):
            for place in range(9):
                expected = tiles[orders[number, image, place], image]
                assert torch.equal(found[place, number, image], expected)


def test_the_set_stands_in_the_checkpoint(tmp_path):
    method = jigsaw(backbone=None)
    method.permutations.copy_(method.permutations.flip(1))
    expected = method.permutations.clone()
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, noise_loader(8, 4, (32,)))
    trainer.save_checkpoint(tmp_path / "jigsaw.ckpt")
    loaded = Jigsaw.load_from_checkpoint(tmp_path / "jigsaw.ckpt", backbone=TinyBackbone())
    assert torch.equal(loaded.permutations, expected)
    assert not torch.equal(jigsaw().permutations, expected)


@pytest.mark.parametrize(("classes", "count"), [(100, 42_856_932), (701, 45_319_229), (1000, 46_544_232)])
def test_the_network_has_the_official_number_of_parameters(classes, count):
    with torch.device("meta"):
        parts = (
            ContextFreeNetwork(),
            tile_head(2304, 1024, batch_norm=False, dropout=0.5),
            puzzle_head(9216, 4096, classes, dropout=0.5),
        )
        assert parts[0](torch.empty(2, 3, 64, 64)).shape == (2, 2304)
    assert sum(p.numel() for part in parts for p in part.parameters()) == count


def test_the_default_network_is_the_official_one():
    with torch.device("meta"):
        method = Jigsaw()
    assert sum(p.numel() for p in method.parameters()) == 42_856_932


def test_weights_and_biases_start_as_in_the_official_code():
    torch.manual_seed(0)
    network = ContextFreeNetwork()
    for name, bias in (("conv1", 0), ("conv2", 1), ("conv3", 0), ("conv4", 1), ("conv5", 1)):
        layer = network.get_submodule(name)[0]
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert (layer.bias == bias).all()
    fc6 = tile_head(400, 500, batch_norm=False, dropout=0.5)[0]
    fc7, fc8 = (layer for layer in puzzle_head(400, 500, 100, dropout=0.5) if isinstance(layer, nn.Linear))
    for layer, std, bias in ((fc6, 0.005, 1), (fc7, 0.005, 1), (fc8, 0.01, 0)):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
        assert (layer.bias == bias).all()


def test_the_head_of_vissl_has_batch_norm_and_no_hidden_layer():
    method = jigsaw(batch_norm=True, hidden_dim=None, dropout=0.0)
    assert [type(layer) for layer in method.tile_head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [type(layer) for layer in method.head] == [nn.Linear]
    assert method.head[0].weight.shape == (12, 9 * 4)


def test_biases_learn_twice_as_fast_and_are_not_decayed():
    weights, biases = jigsaw().parameter_groups()
    assert "lr_scale" not in weights
    assert (biases["lr_scale"], biases["weight_decay"]) == (2.0, 0.0)
    assert all(p.dim() == 1 for p in biases["params"])


def test_every_channel_of_every_tile_has_a_shift_of_its_own():
    method = jigsaw(colors="none", grayscale_p=0.0, projection_p=0.0, jitter=0, channel_shift=2)
    rows = coordinates(300, 30)[:, :1].expand(-1, 3, -1, -1)  # no room for the grid
    corners = method.draw_tiles(rows, generator())[..., 0, 0]  # (9, 300, 3)
    shifts = corners - torch.tensor([0, 0, 0, 10, 10, 10, 20, 20, 20])[:, None, None]
    assert shifts.unique().tolist() == [0, 1, 2]
    differences = shifts[..., 0] - shifts[..., 2]
    assert differences.unique().tolist() == [-2, -1, 0, 1, 2]
    assert (differences[0] - differences[1]).abs().max() > 0


def test_half_of_the_images_are_gray_and_half_of_the_others_have_no_magenta():
    method = jigsaw(colors="none")
    tiles = method.draw_tiles(noise(800, 32) * torch.tensor([1.0, 0.5, 0.2])[:, None, None], generator())
    with pytest.MonkeyPatch.context() as patch:  # channels are compared in place
        patch.setattr(method, "grid", type(method.grid)(3, 8, 10))
        tiles = method.draw_tiles(noise(800, 32), generator())
    gray = (tiles - tiles.mean(2, keepdim=True)).abs().amax((0, 2, 3, 4)) < 1e-6
    magenta = (2 * tiles[:, :, 1] - tiles[:, :, 0] - tiles[:, :, 2]).abs().amax((0, 2, 3)) < 1e-5
    assert gray.float().mean() == pytest.approx(0.5, abs=0.06)
    assert (magenta & ~gray).float().mean() == pytest.approx(0.25, abs=0.06)


def test_the_features_of_a_tile_do_not_depend_on_its_place():
    """Batch norm over all tiles jointly; one call for each place would take what a place has in common away."""
    torch.manual_seed(0)
    method = jigsaw(WithBatchNorm(), colors="none", batch_norm=True, dropout=0.0)
    tiles = method.draw_tiles(noise(4, 32), generator()) * torch.linspace(0.5, 1.5, 9)[:, None, None, None, None]
    order = torch.randperm(36, generator=generator(1))

    def embed(rows: torch.Tensor) -> torch.Tensor:
        return method.tile_head(method.backbone(rows))

    rows = tiles.flatten(0, 1)
    torch.testing.assert_close(embed(rows[order]), embed(rows)[order], rtol=1e-4, atol=1e-5)
    by_place = torch.cat([embed(place) for place in tiles])
    assert (by_place - embed(rows)).abs().max() > 0.1


def test_one_call_of_the_network_takes_all_tiles():
    method, sizes = jigsaw(), []
    method.backbone.register_forward_hook(lambda _, args, output: sizes.append(len(args[0])))
    quiet_trainer(max_steps=1).fit(method, noise_loader(8, 4, (32,)))
    assert sizes == [9 * 4]


def test_examples_are_whole_pictures():
    ordered, shuffled = Jigsaw.examples(noise(3, 32), generator())
    assert ordered.images.shape == shuffled.images.shape == (3, 3, 26, 26)
    assert ordered.labels == ["in order"] * 3
    for picture, other, label in zip(ordered.images, shuffled.images, shuffled.labels):
        for place, tile in enumerate(map(int, label.split())):
            parts = []
            for image, number in ((other, place), (picture, tile)):
                top, left = 9 * (number // 3), 9 * (number % 3)
                parts.append(image[:, top : top + 8, left : left + 8])
            assert torch.equal(*parts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tile_size": 12}, "12 pixels that is moved by up to jitter=1, its channels by 1 more, does not fit"),
        ({"channel_shift": 2}, "its channels by 2 more, does not fit into cells of cell_size=10"),
        ({"grid": 2, "num_permutations": 25}, "num_permutations=25: 4 tiles have 24 permutations"),
        ({"grid": 4}, "too many permutations of 16 tiles"),
        ({"num_permutations": 1}, "num_permutations=1"),
        ({"colors": "channel"}, 'Did you mean "channels"'),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        jigsaw(**arguments)


def test_images_that_are_too_small_are_refused_when_training_starts():
    with pytest.raises(UsageError, match="take 30 pixels, with what they are moved, and the images have 24"):
        quiet_trainer(max_steps=1).fit(jigsaw(), noise_loader(8, 4, (24,)))
