"""Ways to the answer that have nothing to do with objects, and the defenses that close them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts import Jigsaw, RelativePosition
from sslbolts.methods.pretext.jigsaw import puzzle
from sslbolts.methods.pretext.neighbors import relative_pairs
from sslbolts.transforms.tiles import TileGrid, cut_tiles
from tests.helpers.nets import TinyBackbone
from tests.methods.pretext.tiles import noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relative_position(**arguments: Any) -> RelativePosition:
    small = {"patch_size": 8, "cell_size": 10, "jitter": 2, "hidden_dim": 8}
    return RelativePosition(TinyBackbone(), **small | arguments)


def jigsaw(**arguments: Any) -> Jigsaw:
    small = {"tile_size": 8, "cell_size": 10, "jitter": 1, "channel_shift": 1, "num_permutations": 12}
    return Jigsaw(TinyBackbone(), **{"tile_dim": 4, "hidden_dim": 8, **small, **arguments})


def raw(images: Tensor) -> Tensor:
    """Tiles in the middle of their cells, as they are."""
    grid = TileGrid.fitting(32)
    return cut_tiles(images, grid.corners(torch.ones(9, len(images), 2, dtype=torch.int64)), 8)


def mean_and_border(tiles: Tensor) -> Tensor:
    """``(T, B, D)``: the mean of each channel and all pixels of the border."""
    edges = [tiles[..., 0, :], tiles[..., -1, :], tiles[..., 0], tiles[..., -1]]
    return torch.cat([tiles.mean((3, 4)), *(edge.flatten(2) for edge in edges)], 2)


def linear_accuracy(features: Tensor, labels: Tensor, classes: int) -> float:
    """Accuracy of a ridge regression ``(R, B, D) -> (R, B)`` on the second half of the images."""
    half = features.shape[1] // 2
    x = F.pad(features - features.mean((0, 1)), (0, 1), value=1.0).double()
    seen, unseen = x[:, :half].flatten(0, 1), x[:, half:].flatten(0, 1)
    targets = F.one_hot(labels[:, :half].flatten(), classes).double()
    weights = torch.linalg.solve(seen.T @ seen + 1e-3 * len(seen) * torch.eye(x.shape[2]), seen.T @ targets)
    return float(((unseen @ weights).argmax(1) == labels[:, half:].flatten()).float().mean())


def pairs_by_line(tiles: Tensor) -> float:
    features = mean_and_border(tiles)
    first, second, labels = relative_pairs(3, 3).unbind(1)
    return linear_accuracy(
        torch.cat([features[first], features[second]], 2), labels[:, None].expand(-1, tiles.shape[1]), 8
    )


def puzzles_by_line(tiles: Tensor, permutations: Tensor) -> float:
    count = tiles.shape[1]
    labels = torch.randint(len(permutations), (count,), generator=generator(5))
    features = mean_and_border(puzzle(tiles, permutations[labels]))  # (T, B, D)
    return linear_accuracy(features.transpose(0, 1).flatten(1)[None], labels[None], len(permutations))


BRIGHTER_DOWN_AND_RIGHT = torch.linspace(0, 1, 32)[:, None] + 0.5 * torch.linspace(0, 1, 32)


@pytest.mark.parametrize("colors", ["drop", "standardize"])
def test_mean_colors_and_borders_of_noise_do_not_tell_positions(colors):
    method = relative_position(colors=colors)
    assert pairs_by_line(method.draw_patches(noise(600, 32), generator())) < method.chance + 0.02


def test_mean_colors_and_borders_of_noise_do_not_tell_permutations():
    method = jigsaw()
    assert puzzles_by_line(method.draw_tiles(noise(3000, 32), generator()), method.permutations) < 1 / 12 + 0.025


def test_light_from_one_side_tells_everything_where_tiles_are_not_normalized():
    """The same linear models, on images that are brighter below and to the right."""
    images = 0.3 * noise(1000, 32) + BRIGHTER_DOWN_AND_RIGHT
    relative, shuffled = relative_position(), jigsaw()
    assert pairs_by_line(raw(images)) > 0.25
    assert puzzles_by_line(raw(images), shuffled.permutations) > 0.5
    assert pairs_by_line(relative.draw_patches(images, generator())) < relative.chance + 0.03
    assert puzzles_by_line(shuffled.draw_tiles(images, generator()), shuffled.permutations) < 1 / 12 + 0.05


def scaled(images: Tensor, factor: float) -> Tensor:
    """Images ``(B, 1, H, W)`` enlarged about their center."""
    grid = F.affine_grid(
        torch.tensor([[[1 / factor, 0, 0], [0, 1 / factor, 0]]]), [1, 1, *images.shape[2:]], align_corners=False
    )
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def aberrated(count: int, side: int, seed: int = 0) -> Tensor:
    """Gray textures, red enlarged by one percent about the center and blue made smaller by as much."""
    gray = torch.rand(count, 1, side, side, generator=generator(seed))
    gray = F.avg_pool2d(F.avg_pool2d(gray, 3, 1, 1), 3, 1, 1)
    return torch.cat([scaled(gray, 1.01), gray, scaled(gray, 0.99)], 1)


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def cell_accuracy(tiles: Tensor) -> float:
    """How often a small net finds the cell of a single tile ``(T, B, C, s, s)``, on the second half of the images."""
    torch.manual_seed(0)
    places, count = tiles.shape[:2]
    tiles = tiles / tiles.std()
    labels = torch.arange(places)[:, None].expand(places, count)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), Square(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8))
    net.append(nn.Linear(8, places))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    half, draws = count // 2, generator(1)
    seen, answers = tiles[:, :half].flatten(0, 1), labels[:, :half].flatten()
    for _ in range(60):
        rows = torch.randint(len(seen), (144,), generator=draws)
        optimizer.zero_grad()
        F.cross_entropy(net(seen[rows]), answers[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        found = net.eval()(tiles[:, half:].flatten(0, 1)).argmax(1)
    return float((found == labels[:, half:].flatten()).float().mean())


def test_colors_at_the_rim_of_a_lens_tell_where_a_tile_was_unless_they_are_defended():
    """All objects are the same here: only the lens tells one cell from another."""
    images = aberrated(160, 96)
    patches = {"patch_size": 24, "cell_size": 32, "jitter": 8, "low_resolution_p": 0.0}
    tiles = {"tile_size": 24, "cell_size": 32, "jitter": 6}
    off = {"channel_shift": 0, "grayscale_p": 0.0, "projection_p": 0.0}
    open_ways = [
        relative_position(colors="standardize", **patches).draw_patches(images, generator()),
        jigsaw(**tiles, **off).draw_tiles(images, generator()),
    ]
    closed = [
        relative_position(colors="drop", **patches).draw_patches(images, generator()),
        jigsaw(**tiles | {"channel_shift": 2, "grayscale_p": 0.5, "projection_p": 0.5}).draw_tiles(images, generator()),
    ]
    assert min(map(cell_accuracy, open_ways)) > 0.8
    assert max(map(cell_accuracy, closed)) < 0.35  # chance is 0.11; grayscale blurs the rim, which tells a little


def gradients(count: int) -> Tensor:
    """Images ``(count, 3, 32, 32)`` that grow brighter in one direction of their own, not everywhere equally fast."""
    angle, bend = torch.rand(2, count, 1, 1, generator=generator(2)) * 2 * torch.pi
    line = torch.linspace(-1, 1, 32)
    along = angle.cos() * line[:, None] + angle.sin() * line  # (count, 32, 32)
    return (along + 0.15 * (4 * along + bend).sin())[:, None].expand(-1, 3, -1, -1)


def continuity_accuracy(tiles: Tensor) -> float:
    """How often, of four neighbors, the one is right whose border fits best to that of the first tile."""
    straight = torch.tensor([1, 3, 4, 6])
    pairs = relative_pairs(3, 3)
    first, second, labels = pairs[torch.isin(pairs[:, 2], straight)].unbind(1)
    one, other = tiles[first], tiles[second]
    misfits = [
        (one[..., 0, :] - other[..., -1, :]),  # above
        (one[..., 0] - other[..., -1]),
        (one[..., -1] - other[..., 0]),
        (one[..., -1, :] - other[..., 0, :]),
    ]
    best = torch.stack([misfit.square().mean((2, 3)) for misfit in misfits]).argmin(0)
    return float((straight[best] == labels[:, None]).float().mean())


def test_lines_that_run_on_in_the_next_tile_do_not_tell_what_is_next_to_what():
    """With gaps and jitter alone, images that are smooth everywhere still give it away: it takes the normalization."""
    images = gradients(400)
    grid = TileGrid(3, 10, 10)  # side by side
    seamless = cut_tiles(images, grid.corners(torch.zeros(9, len(images), 2, dtype=torch.int64)), 10)
    assert continuity_accuracy(seamless) > 0.85
    assert continuity_accuracy(jigsaw(colors="none").draw_tiles(images, generator())) > 0.6
    for colors in ("drop", "standardize"):
        assert continuity_accuracy(relative_position(colors=colors).draw_patches(images, generator())) < 0.28
    assert continuity_accuracy(jigsaw().draw_tiles(images, generator())) < 0.28


def test_gaps_and_jitter_make_lines_harder_to_follow():
    """Of blurred noise in normalized tiles, borders fit that belong together; gaps and jitter hide much of it."""
    texture = torch.rand(400, 1, 32, 32, generator=generator(3))
    for _ in range(4):
        texture = F.avg_pool2d(texture, 3, 1, 1)
    images = texture.expand(-1, 3, -1, -1)
    settings = {"colors": "standardize", "low_resolution_p": 0.0}
    seamless = relative_position(**settings, patch_size=10, jitter=0).draw_patches(images, generator())
    apart = relative_position(**settings).draw_patches(images, generator())
    assert continuity_accuracy(seamless) > 0.8
    assert continuity_accuracy(apart) < 0.6
