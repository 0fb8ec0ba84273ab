"""Reference cases of relative patch position and Jigsaw: tiles, their colors, pairs and permutations."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslbolts.methods.pretext.jigsaw import puzzle
from sslbolts.methods.pretext.neighbors import relative_pairs
from sslbolts.methods.pretext.permutations import farthest_first, permutation_set
from sslbolts.transforms import color_defenses as colors
from sslbolts.transforms.tiles import TileGrid, cut_tiles
from tests.golden.reference import Case, Parameters, Tensors


def _labels(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    pairs = relative_pairs(3, 3)
    first, second, label = pairs[pairs[:, 0] == 4].unbind(1)
    across, down = second % 3 - first % 3, second // 3 - first // 3
    return {"dxdy": torch.stack([across, down], 1), "label": label}


def _pairs(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"pairs": relative_pairs(p["ny"], p["nx"])}


def _drop(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    patch, noise = (i[name].permute(2, 0, 1) for name in ("patch", "noise"))
    return {"patch": colors.drop_colors(patch, torch.tensor(p["keep"]), noise).permute(1, 2, 0)}


def _projection(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"projected": colors.remove_green_magenta(i["image"]), "grey": colors.mean_gray(i["image"])}


def _distances(permutations: Tensor) -> Tensor:
    return (permutations[:, None] != permutations).sum(2)


def _mean_distance(permutations: Tensor) -> Tensor:
    count = len(permutations)
    return _distances(permutations).double().sum() / (count * (count - 1))


def _selected(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"selected": farthest_first(i["perms"], p["n_select"], p["first"])}


def _few_permutations(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    found = permutation_set(p["tiles"], p["count"])
    others = _distances(found) + 99 * torch.eye(len(found), dtype=torch.int64)
    return {"permutations": found, "mean_hamming": _mean_distance(found), "min_hamming": others.min()}


def _permutations(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    found = permutation_set(p["tiles"], p["count"])
    first = torch.tensor([9, 10, 18, 30, 50, 100])
    return {"permutations": found, "n": first, "mean_hamming": torch.stack([_mean_distance(found[:n]) for n in first])}


def _tiles(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    cells = TileGrid(p["grid"], p["tile"], i["image"].shape[1] // p["grid"])
    tiles = cut_tiles(i["image"][None], cells.corners(i["offsets"][:, None]), p["tile"])  # (9, 1, 3, 8, 8)
    shuffled = puzzle(tiles, i["permutation"][None])[:, 0]
    return {
        "tiles": tiles[:, 0],
        "puzzle": shuffled,
        "channel": colors.normalize_channels(shuffled),
        "mvn50": colors.mean_variance_50(shuffled),
        "standardize": colors.standardize(shuffled),
    }


def _channel_shift(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"tile": cut_tiles(i["image"][None], i["shift"][None, None], p["tile"])[0, 0]}


CASES: Mapping[str, Case] = {
    "relative_patch_labels": Case(_labels),
    "relative_grid_pairs": Case(_pairs),
    "relative_colour_drop": Case(_drop),
    "colour_projection": Case(_projection),
    "jigsaw_maxhamming": Case(_selected),
    "jigsaw_permutations_5": Case(_few_permutations),
    "jigsaw_permutations_9": Case(_permutations),
    "jigsaw_tiles": Case(_tiles),
    "channel_shift": Case(_channel_shift),
}
