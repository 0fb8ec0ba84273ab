"""Views of any image by any recipe: in range, repeatable, and of one image whatever is beside it."""

import dataclasses

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sslbolts.transforms import BatchedAugment, BatchedEvaluate, Evaluation, MultiView, View, random_crops
from sslbolts.transforms.crops import center_crop
from sslbolts.transforms.parameters import central_box, draw_parameters
from tests.fuzz.drawn import image_types, images, made_or_refused, mostly_right, seeds

FIELDS = [field.name for field in dataclasses.fields(View)]
probability = st.sampled_from([0.0, 0.3, 0.5, 1.0])
strength = st.one_of(st.just(0.0), st.floats(0, 3))


def _pair(least: float, most: float) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.floats(least, most), st.floats(least, most)).map(lambda pair: tuple(sorted(pair)))


@st.composite
def recipes(draw, largest=40):
    """Recipes of one view, all of them allowed."""
    size = draw(st.integers(1, largest))
    color_first = draw(st.booleans())
    return View(
        size,
        scale=draw(_pair(1e-6, 1.0)),
        ratio=draw(_pair(0.01, 100.0)),
        interpolation=draw(st.sampled_from(["bilinear", "bicubic"])),
        flip=draw(probability),
        jitter=(draw(strength), draw(strength), draw(strength), draw(st.floats(0, 0.5))),
        jitter_p=draw(probability),
        grayscale_p=draw(probability),
        blur_p=draw(probability),
        blur_sigma=draw(_pair(1e-3, 50.0)),
        blur_kernel=draw(st.sampled_from([None, *range(1, 2 * size, 2)] if size > 1 else [1])),
        solarize_p=draw(probability),
        solarize_threshold=draw(st.floats(0, 255)),
        color_first=color_first,
        padding=0.0 if color_first else draw(st.sampled_from([0.0, 0.125, 1.0])),
    )


sides = st.one_of(st.integers(1, 24), st.sampled_from([47, 70]))
batches = st.tuples(st.integers(1, 5), st.sampled_from([1, 3, 4]), sides, sides)


def _in_range(views: torch.Tensor) -> bool:
    """Without NaN, and in [0, 1] but for the rounding of sums."""
    return bool((views >= -1e-5).all() and (views <= 1 + 1e-5).all())


@given(recipes(), batches, image_types, seeds, st.sampled_from(["exact", "linear"]))
def test_views_are_in_range_repeatable_and_of_their_image_alone(view, shape, dtype, seed, color):
    batch = images(seed, shape, dtype)
    augment = BatchedAugment(view, color=color)
    made = augment(batch.clone(), generator=torch.Generator().manual_seed(seed))
    assert made.shape == (*shape[:2], view.size, view.size)
    assert made.dtype == torch.float32
    assert _in_range(made)
    again = augment(batch.clone(), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(made, again)
    if not view.padding:
        draws = draw_parameters(view, shape[0], *shape[2:], generator=torch.Generator().manual_seed(seed))
        row = seed % shape[0]
        alone = augment.apply(batch[row : row + 1].clone(), draws.take(slice(row, row + 1)))
        torch.testing.assert_close(alone[0], made[row], rtol=0, atol=2e-5)


@given(recipes(largest=16), st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 4]), sides, sides), seeds)
def test_an_accelerator_makes_what_the_cpu_makes(view, shape, seed):
    batch = images(seed, shape)
    augment = BatchedAugment(dataclasses.replace(view, padding=0.0))
    draws = draw_parameters(view, shape[0], *shape[2:], generator=torch.Generator().manual_seed(seed))
    made, there = augment.apply(batch, draws), augment._branch_free(batch, draws)
    assert _in_range(there)
    torch.testing.assert_close(there, made, rtol=0, atol=2e-3)  # solarize and hue turn rounding into more, see below


@given(st.tuples(st.integers(1, 3), st.sampled_from([2, 5, 13]), sides, sides), seeds)
def test_images_of_any_channels_keep_them(shape, seed):
    view = BatchedAugment(View(8))(images(seed, shape), generator=torch.Generator())
    assert view.shape == (*shape[:2], 8, 8)
    assert _in_range(view)


@given(st.fixed_dictionaries({}, optional={name: mostly_right for name in FIELDS if name != "interpolation"}), seeds)
def test_a_recipe_is_refused_or_works(given_, seed):
    view = made_or_refused(View, {"size": 8, **given_})
    if view is None or view.size > 64 or view.kernel > 999:
        return
    made = BatchedAugment(view)(images(seed, (2, 3, 9, 7)), generator=torch.Generator().manual_seed(seed))
    assert _in_range(made)


@given(st.sampled_from(["scale", "ratio", "blur_sigma", "jitter"]), st.lists(mostly_right, max_size=5), seeds)
def test_a_recipe_with_any_range_is_refused_or_works(name, values, seed):
    view = made_or_refused(View, {"size": 8, "blur_p": 1.0, name: tuple(values)})
    if view is not None:
        made = BatchedAugment(view)(images(seed, (3, 3, 9, 7)), generator=torch.Generator().manual_seed(seed))
        assert _in_range(made)


@given(
    recipes(), st.tuples(st.sampled_from([1, 3, 4, 5, 13]), sides, sides), seeds, st.sampled_from(["exact", "linear"])
)
def test_crops_of_one_image(view, shape, seed, color):
    assume(shape[0] in (1, 3, 4) or not view.color_first)
    image = images(seed, (1, *shape))[0]
    views = [view, dataclasses.replace(view, size=3, blur_p=0.0)]
    crops, again = (
        random_crops(image, views, generator=torch.Generator().manual_seed(seed), color=color) for _ in range(2)
    )
    for crop, same, made_by in zip(crops, again, views):
        assert crop.shape == (shape[0], made_by.size, made_by.size)
        assert crop.dtype == torch.uint8
        assert torch.equal(crop, same)


@given(st.integers(1, 300), st.integers(1, 300), _pair(1e-5, 1e5))
def test_the_central_crop_is_in_the_image(height, width, ratio):
    top, left, h, w = central_box(height, width, ratio)
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h >= 1
    assert w >= 1


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 4, 5, 13]), sides, sides),
    image_types,
    st.sampled_from(["bilinear", "bicubic"]),
    seeds,
)
def test_evaluation_views(squares, shape, dtype, interpolation, seed):
    resize, size = squares
    evaluation = made_or_refused(Evaluation, {"resize": resize, "size": size, "interpolation": interpolation})
    assert (evaluation is None) == (size > resize)
    assume(evaluation is not None)
    batch = images(seed, shape, dtype)
    made = BatchedEvaluate(evaluation)(batch)
    assert made.shape == (*shape[:2], size, size)
    assert made.dtype == torch.float32
    assert _in_range(made)
    torch.testing.assert_close(BatchedEvaluate(evaluation)(batch[:1])[0], made[0], rtol=0, atol=1e-6)
    if dtype == torch.uint8:
        assert center_crop(batch[0], evaluation).shape == made.shape[1:]


@given(st.lists(recipes(largest=12), min_size=1, max_size=3), st.booleans())
def test_several_views(views, shared):
    several = made_or_refused(MultiView, {"views": views, "shared_flip": shared})
    assert (several is None) == (shared and len({view.flip for view in views}) > 1)


@given(st.lists(mostly_right, min_size=3, max_size=3), st.lists(mostly_right, min_size=3, max_size=3), seeds)
def test_normalization_is_refused_or_finite(mean, std, seed):
    if not all(isinstance(value, int | float) and not abs(value) > 1e300 for value in (*mean, *std)):
        return  # types and sizes are the recipe's to check
    augment = made_or_refused(lambda mean, std: BatchedAugment(View(4), mean=mean, std=std), {"mean": mean, "std": std})
    if augment is None or not all(1e-6 < value < 1e6 for value in std) or not all(abs(value) < 1e6 for value in mean):
        return
    assert augment(images(seed, (2, 3, 5, 5)), generator=torch.Generator()).isfinite().all()
