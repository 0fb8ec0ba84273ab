"""Parts of images, masks and changes of color: exact shares, nothing out of range, each image by itself."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sslbolts.errors import UsageError
from sslbolts.losses.reconstruction import patchify, unpatchify
from sslbolts.methods.masked.masks import random_cells, random_patches
from sslbolts.methods.pretext.permutations import farthest_first, permutation_set
from sslbolts.methods.text.masking import number_of_predictions, random_masks
from sslbolts.transforms.color_defenses import drop_colors, lower_resolution, lower_sides
from sslbolts.transforms.corruption import corrupt
from sslbolts.transforms.cutmix import cut_and_mix
from sslbolts.transforms.exemplars import hsv_noise, without_color
from sslbolts.transforms.halving import FILTERS, halved
from sslbolts.transforms.holes import center_hole, noise_cells, random_regions
from sslbolts.transforms.lab import annealed_mean, lab_to_rgb, nearest_bins, rgb_to_lab, soft_codes
from sslbolts.transforms.rotations import rotate, rotation_labels, rotations
from sslbolts.transforms.tiles import TileGrid, cut_tiles
from tests.fuzz.drawn import images, rows, seeds

shapes = st.tuples(st.integers(1, 4), st.sampled_from([1, 3, 4, 5, 13]), st.integers(1, 12), st.integers(1, 12))
colored = st.tuples(st.integers(1, 4), st.just(3), st.integers(1, 8), st.integers(1, 8))
floats = st.sampled_from([torch.float32, torch.float64])


def _uniform(seed, *shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(st.integers(1, 5), st.integers(1, 60), st.floats(0, 1), st.booleans(), seeds)
def test_a_mask_hides_the_same_share_of_every_image(count, patches, ratio, equal_noise, seed):
    noise = torch.zeros(count, patches) if equal_noise else _uniform(seed, count, patches)
    seen = int(patches * (1 - ratio))
    try:
        mask = random_patches(noise, ratio)
    except UsageError as error:
        assert f"mask_ratio={ratio}" in str(error)
        assert not 0 < seen < patches
    else:
        assert (mask.hidden.sum(1) == patches - seen).all()
        assert mask.keep.shape == (count, seen)
        for keep, restore, hidden in zip(mask.keep, mask.restore, mask.hidden):
            assert sorted(restore.tolist()) == list(range(patches))
            assert not hidden[keep].any()
            assert torch.equal(restore[keep], torch.arange(seen))
    try:
        hidden = random_cells(noise[:, :, None], ratio)
    except UsageError as error:
        assert f"mask_ratio={ratio}" in str(error)
    else:
        assert (hidden.sum((1, 2)) == hidden[0].sum()).all()
        assert abs(int(hidden[0].sum()) - ratio * patches) < 1 + 1e-6
        assert 0 < int(hidden[0].sum()) < patches


@given(st.integers(1, 10), st.integers(-1, 30))
def test_permutations_are_different_permutations(tiles, count):
    try:
        found = permutation_set(min(tiles, 6) if tiles < 10 else 10, count)
    except UsageError as error:
        assert str(count) in str(error) or tiles == 10
        return
    assert found.shape == (count, min(tiles, 6))
    assert len({tuple(row) for row in found.tolist()}) == count
    assert (found.sort(1).values == torch.arange(found.shape[1])).all()
    assert torch.equal(farthest_first(found, count).sort().values, torch.arange(count))


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 12), st.integers(0, 6), st.integers(0, 3)),
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 5]), st.integers(1, 30), st.integers(1, 30)),
    seeds,
)
def test_tiles_are_cut_out_of_the_image(sides, shape, seed):
    grid, tile, cell, jitter, shift = sides
    batch = images(seed, shape)
    draw = torch.Generator().manual_seed(seed)
    try:
        tiles = TileGrid(grid, tile, cell, jitter, shift)
        room = [tiles.room(side) for side in shape[2:]]
    except UsageError as error:
        assert str(tile) in str(error)
        return
    origin = torch.stack([torch.randint(most + 1, (shape[0],), generator=draw) for most in room], 1)
    offsets = torch.randint(jitter + shift + 1, (tiles.tiles, shape[0], 2), generator=draw)
    corners = tiles.corners(offsets, origin)
    cut = cut_tiles(batch, corners, tile)
    assert cut.shape == (grid**2, *shape[:2], tile, tile)
    for number in range(grid**2):
        for image in range(shape[0]):
            row, column = corners[number, image].tolist()
            assert torch.equal(cut[number, image], batch[image, :, row : row + tile, column : column + tile])


@given(st.integers(1, 300), st.integers(1, 6))
def test_a_grid_that_fits(side, grid):
    try:
        tiles = TileGrid.fitting(side, grid)
    except UsageError:
        assert side < grid
    else:
        assert tiles.span <= side


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), seeds)
def test_patches_are_the_image(count, channels, patch, down, across, seed):
    batch = images(seed, (count, channels, patch * down, patch * across), torch.float32)
    patches = patchify(batch, patch)
    assert patches.shape == (count, down * across, patch * patch * channels)
    assert torch.equal(unpatchify(patches, patch, patch * down, patch * across), batch)


@given(shapes, st.integers(-9, 9), seeds)
def test_quarter_turns(shape, quarters, seed):
    batch = images(seed, shape)
    assert torch.equal(rotate(rotate(batch, quarters), -quarters), batch)
    square = batch[:, :, : min(shape[2:]), : min(shape[2:])]
    for image_major in (True, False):
        turned = rotations(square, image_major=image_major)
        for row, label in zip(turned, rotation_labels(shape[0], image_major=image_major).tolist()):
            assert any(torch.equal(rotate(row, -label), image) for image in square)


@given(shapes, st.floats(0, 1), floats, seeds)
def test_cutmix_keeps_distributions_and_pixels(shape, probability, dtype, seed):
    batch = images(seed, shape, dtype)
    targets = rows(seed, shape[0], 4, dtype=dtype).softmax(1)
    draws = _uniform(seed, shape[0], 4, dtype=dtype)
    mixed, mixed_targets = cut_and_mix(batch, targets, draws, probability=probability)
    assert mixed.shape == batch.shape
    assert ((mixed >= 0) & (mixed <= 1)).all()
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(shape[0], dtype=dtype))
    assert (mixed_targets >= 0).all()
    if shape[0] == 1:
        assert torch.equal(mixed, batch)


@given(shapes, st.sampled_from(["masking", "gaussian", "salt_and_pepper"]), st.floats(0, 1), floats, seeds)
def test_corruption(shape, kind, amount, dtype, seed):
    batch = images(seed, shape, dtype)
    noise = rows(seed, *shape) if kind == "gaussian" else _uniform(seed, *shape)
    found = corrupt(batch, noise, kind=kind, amount=amount)
    assert found.images.dtype == dtype
    assert torch.equal(found.images[~found.where], batch[~found.where])
    if kind != "gaussian":
        assert ((found.images >= 0) & (found.images <= 1)).all()
        assert torch.equal(found.where, noise.to(dtype) < amount)


@given(st.integers(1, 3), st.sampled_from([1, 3, 5]), st.integers(1, 10), st.integers(1, 10), floats, seeds)
def test_halved_images_have_the_means_of_their_parts(count, channels, height, width, dtype, seed):
    batch = images(seed, (count, channels, 2 * height, 2 * width), dtype)
    which = torch.randint(len(FILTERS), (count,), generator=torch.Generator().manual_seed(seed))
    found = halved(batch, which)
    assert found.shape == (count, channels, height, width)
    assert found.isfinite().all()
    flat = halved(torch.full_like(batch, 0.3), which)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3), rtol=1e-5, atol=1e-5)
    for row in (which == 0).nonzero().flatten().tolist():
        expected = torch.nn.functional.avg_pool2d(batch[row], 2)
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 20), seeds)
def test_lower_resolution_stays_in_range(side, seed):
    tiles = images(seed, (3, 2, side, side), torch.float32)
    sides = lower_sides(_uniform(seed, 3), side)
    assert ((sides >= 1) & (sides <= max(1, side))).all()
    found = lower_resolution(tiles, sides)
    assert ((found >= -1e-6) & (found <= 1 + 1e-6)).all()
    torch.testing.assert_close(lower_resolution(tiles, torch.full((3,), side)), tiles, rtol=0, atol=1e-6)


@given(shapes, seeds)
def test_colors_are_dropped_and_changed_in_range(shape, seed):
    batch = images(seed, shape, torch.float32)
    gray = _uniform(seed, shape[0]) < 0.5
    found = without_color(batch, gray)
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    assert torch.equal(found[~gray], batch[~gray])
    keep = torch.randint(shape[1], (shape[0],), generator=torch.Generator().manual_seed(seed))
    dropped = drop_colors(batch, keep, _uniform(seed, *shape) - 0.5)
    assert dropped.isfinite().all()
    noisy = hsv_noise(batch, _uniform(seed, shape[0], 7))
    assert ((noisy >= -1e-6) & (noisy <= 1 + 1e-6)).all()
    alone = hsv_noise(batch[:1], _uniform(seed, shape[0], 7)[:1])
    torch.testing.assert_close(noisy[:1], alone, rtol=0, atol=1e-6)


@given(colored, floats, seeds)
def test_lab_and_back(shape, dtype, seed):
    batch = images(seed, shape, dtype)
    lab = rgb_to_lab(batch)
    assert ((lab[:, 0] >= -1e-3) & (lab[:, 0] <= 100 + 1e-3)).all()
    assert (lab[:, 1:].abs() <= 112).all()
    torch.testing.assert_close(lab_to_rgb(lab), batch, rtol=0, atol=2e-4)
    wild = lab_to_rgb(300 * rows(seed, *shape, dtype=dtype))
    assert ((wild >= 0) & (wild <= 1)).all()
    ab = lab[:, 1:].movedim(1, -1).flatten(0, -2)
    codes = soft_codes(ab)
    torch.testing.assert_close(codes.sum(1), torch.ones_like(codes[:, 0]), rtol=1e-4, atol=1e-4)
    assert (codes.gather(1, nearest_bins(ab)[:, None])[:, 0] >= codes.amax(1) - 1e-4).all()
    assert (annealed_mean(20 * codes).abs() <= 111).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 33), seeds)
def test_holes(height, width, side, of_regions, seed):
    side = min(side, height, width)
    assert int(center_hole(height, width, side).sum()) == side**2
    n = noise_cells()
    hidden = random_regions(_uniform(seed, 4, n, n), _uniform(seed + 1, 4, 2), of_regions)
    assert hidden.shape == (of_regions, of_regions)
    assert hidden.dtype == torch.bool


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 25), st.booleans(), seeds)
def test_masks_of_texts(count, length, most, by_words, seed):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 20, (count, length), generator=draw)
    candidates = torch.rand(count, length, generator=draw) < 0.7
    parts = torch.rand(count, length, generator=draw) < 0.3 if by_words else None
    wanted = torch.randint(0, most + 1, (count,), generator=draw)
    found = random_masks(ids, candidates, wanted, generator=draw, most=most, mask_id=4, num_words=20, parts=parts)
    for row in range(count):
        there = found.positions[row][found.weights[row]]
        assert len(there.unique()) == len(there) <= min(int(wanted[row]), int(candidates[row].sum()))
        assert by_words or len(there) == min(int(wanted[row]), int(candidates[row].sum()))
        assert candidates[row, there].all()
        assert torch.equal(found.labels[row][found.weights[row]], ids[row, there])
        others = torch.ones(length, dtype=torch.bool).index_fill(0, there, False)
        assert torch.equal(found.ids[row, others], ids[row, others])
    assert 1 <= number_of_predictions(length) <= 20
