from dataclasses import replace

import pytest

from sslbolts.errors import UsageError
from sslbolts.transforms import RECIPES, Evaluation, MultiCrop, MultiView, View, evaluation, recipe
from sslbolts.transforms.crops import random_box

WHOLE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


def full_view(*, size, scale, interpolation, jitter, jitter_p, blur_p, solarize_p, blur_kernel=None):
    """A view with every field written out, so that a changed default fails here."""
    return View(
        size=size,
        scale=scale,
        ratio=RATIO,
        interpolation=interpolation,
        flip=0.5,
        jitter=jitter,
        jitter_p=jitter_p,
        grayscale_p=0.2,
        blur_p=blur_p,
        blur_sigma=(0.1, 2.0),
        blur_kernel=blur_kernel,
        solarize_p=solarize_p,
        solarize_threshold=128.0,
    )


# name, size, scale, interpolation, jitter, jitter_p, blur_p, solarize_p, of each of the (global) views
TABLE = [
    ("simclr", 224, WHOLE, "bilinear", (0.8, 0.8, 0.8, 0.2), 0.8, (0.5, 0.5), (0.0, 0.0)),
    ("simclr", 32, WHOLE, "bilinear", (0.4, 0.4, 0.4, 0.1), 0.8, (0.0, 0.0), (0.0, 0.0)),
    ("moco_v1", 224, (0.2, 1.0), "bilinear", (0.4, 0.4, 0.4, 0.4), 1.0, (0.0, 0.0), (0.0, 0.0)),
    ("moco_v1", 32, (0.2, 1.0), "bilinear", (0.4, 0.4, 0.4, 0.4), 1.0, (0.0, 0.0), (0.0, 0.0)),
    ("moco_v2", 224, (0.2, 1.0), "bilinear", (0.4, 0.4, 0.4, 0.1), 0.8, (0.5, 0.5), (0.0, 0.0)),
    ("moco_v2", 32, (0.2, 1.0), "bilinear", (0.4, 0.4, 0.4, 0.1), 0.8, (0.0, 0.0), (0.0, 0.0)),
    ("byol", 224, WHOLE, "bicubic", (0.4, 0.4, 0.2, 0.1), 0.8, (1.0, 0.1), (0.0, 0.2)),
    ("byol", 32, WHOLE, "bicubic", (0.4, 0.4, 0.2, 0.1), 0.8, (0.0, 0.0), (0.0, 0.2)),
    ("swav", 224, (0.14, 1.0), "bilinear", (0.8, 0.8, 0.8, 0.2), 0.8, (0.5, 0.5), (0.0, 0.0)),
    ("swav", 32, (0.14, 1.0), "bilinear", (0.4, 0.4, 0.4, 0.1), 0.8, (0.0, 0.0), (0.0, 0.0)),
    ("dino", 224, (0.4, 1.0), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.8, (1.0, 0.1), (0.0, 0.2)),
    ("dino", 32, (0.4, 1.0), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.8, (0.0, 0.0), (0.0, 0.2)),
    ("dino_resnet50", 224, (0.14, 1.0), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.8, (1.0, 0.1), (0.0, 0.2)),
]
# name, size, number of local views, their size, scale, interpolation, jitter, blur_p, blur_kernel
LOCAL = [
    ("swav", 224, 6, 96, (0.05, 0.14), "bilinear", (0.8, 0.8, 0.8, 0.2), 0.5, 23),
    ("swav", 32, 6, 16, (0.05, 0.14), "bilinear", (0.4, 0.4, 0.4, 0.1), 0.0, None),
    ("dino", 224, 8, 96, (0.05, 0.4), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.5, 23),
    ("dino", 32, 8, 16, (0.05, 0.4), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.0, None),
    ("dino_resnet50", 224, 8, 96, (0.05, 0.14), "bicubic", (0.4, 0.4, 0.2, 0.1), 0.5, 23),
]


@pytest.mark.parametrize(
    ("name", "size", "scale", "interpolation", "jitter", "jitter_p", "blur_p", "solarize_p"),
    TABLE,
    ids=[f"{row[0]}-{row[1]}" for row in TABLE],
)
def test_the_large_views_are_the_papers(name, size, scale, interpolation, jitter, jitter_p, blur_p, solarize_p):
    paper = RECIPES[name][size]
    views = paper.global_views if isinstance(paper, MultiCrop) else paper.views
    assert list(views) == [
        full_view(
            size=size,
            scale=scale,
            interpolation=interpolation,
            jitter=jitter,
            jitter_p=jitter_p,
            blur_p=blur,
            solarize_p=solarize,
        )
        for blur, solarize in zip(blur_p, solarize_p, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "size", "number", "local_size", "scale", "interpolation", "jitter", "blur_p", "blur_kernel"),
    LOCAL,
    ids=[f"{row[0]}-{row[1]}" for row in LOCAL],
)
def test_the_small_views_are_the_papers(
    name, size, number, local_size, scale, interpolation, jitter, blur_p, blur_kernel
):
    paper = RECIPES[name][size]
    assert paper.num_local == number
    assert len(paper.views) == 2 + number
    assert paper.local_view == full_view(
        size=local_size,
        scale=scale,
        interpolation=interpolation,
        jitter=jitter,
        jitter_p=0.8,
        blur_p=blur_p,
        solarize_p=0.0,
        blur_kernel=blur_kernel,
    )


def test_only_simclr_leaves_its_images_between_0_and_1():
    normalized = {name: {recipe.normalize for recipe in sizes.values()} for name, sizes in RECIPES.items()}
    assert normalized.pop("simclr") == {False}
    assert set(map(frozenset, normalized.values())) == {frozenset({True})}


@pytest.mark.parametrize(
    ("alias", "name"), [("simsiam", "moco_v2"), ("barlow_twins", "byol"), ("vicreg", "byol"), ("moco_v3", "byol")]
)
def test_methods_that_share_views_share_a_recipe(alias, name):
    for size in (32, 224):
        assert RECIPES[alias][size] is RECIPES[name][size]
        assert recipe(alias, size) is RECIPES[name][size]


def test_the_table_holds_these_names_and_is_frozen():
    assert set(RECIPES) == {
        *("simclr", "moco_v1", "moco_v2", "byol", "swav", "dino", "dino_resnet50", "obow", "bownet"),
        *("simsiam", "barlow_twins", "vicreg", "moco_v3"),
        *("simreg", "cpc", "amdim", "mean_teacher"),
        *("wmse", "wmse4", "deepcluster", "deepcluster_v2"),
        *("npid", "moco_v3_resnet"),
    }
    assert all(set(sizes) == {32, 224} for sizes in RECIPES.values())
    with pytest.raises(TypeError):
        RECIPES["mine"] = {}
    with pytest.raises(TypeError):
        RECIPES["simclr"][64] = RECIPES["simclr"][32]


@pytest.mark.parametrize(
    ("name", "size", "count", "expected"),
    [
        ("wmse", 224, 2, {"scale": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8, "grayscale_p": 0.1}),
        ("wmse4", 32, 4, {"scale": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 0.8, "grayscale_p": 0.1}),
        ("deepcluster", 224, 1, {"scale": WHOLE, "jitter": (0.0, 0.0, 0.0, 0.0), "grayscale_p": 0.0}),
        ("deepcluster", 32, 1, {"scale": WHOLE, "jitter": (0.0, 0.0, 0.0, 0.0), "grayscale_p": 0.0}),
        ("simreg", 224, 1, {"scale": (0.2, 1.0)}),
        ("simreg", 32, 1, {"scale": (0.2, 1.0)}),
        ("cpc", 224, 1, {"scale": (0.75, 1.0), "jitter": (0.0, 0.0, 0.0, 0.0), "grayscale_p": 0.0}),
        ("cpc", 32, 1, {"scale": (0.75, 1.0), "jitter": (0.0, 0.0, 0.0, 0.0), "grayscale_p": 0.0}),
        ("amdim", 224, 2, {"jitter": (0.4, 0.4, 0.4, 0.2), "ratio": (0.7, 1.4), "grayscale_p": 0.25}),
        ("amdim", 32, 2, {"jitter": (0.4, 0.4, 0.4, 0.1), "ratio": (0.7, 1.4), "grayscale_p": 0.25}),
        ("mean_teacher", 224, 2, {"scale": WHOLE, "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 1.0}),
        ("mean_teacher", 32, 2, {"scale": (0.6, 1.0), "jitter": (0.0, 0.0, 0.0, 0.0)}),
    ],
)
def test_views_of_patches_distillation_and_consistency(name, size, count, expected):
    paper = RECIPES[name][size]
    assert len(paper.views) == count
    assert len(set(paper.views)) == 1
    assert {field: getattr(paper.views[0], field) for field in expected} == expected
    assert paper.views[0].blur_p == paper.views[0].solarize_p == 0
    assert paper.views[0].flip == 0.5


@pytest.mark.parametrize(("size", "crop", "whole"), [(224, 160, 256), (32, 24, 40), (128, 96, 144)])
def test_obow_has_a_plain_image_two_crops_and_most_of_the_image_enlarged(size, crop, whole):
    views = recipe("obow", size).views
    assert [view.size for view in views] == [size, crop, crop, whole]
    assert [view.scale for view in views] == [(1.0, 1.0), (0.08, 0.6), (0.08, 0.6), (0.6, 1.0)]
    assert views[0].jitter == (0.0, 0.0, 0.0, 0.0)
    assert {view.jitter for view in views[1:]} == {(0.4, 0.4, 0.4, 0.1)}
    assert [view.blur_p for view in views] == ([0.0] + [0.5 * (size > 64)] * 3)


def test_the_plain_image_is_the_central_square():
    view = recipe("bownet", 224).views[0]
    assert random_box(view, 300, 500, [(0.3, 0.7, 0.1, 0.9)] * 10) == (0, 100, 300, 300)
    assert random_box(view, 64, 64, [(0.3, 0.7, 0.1, 0.9)] * 10) == (0, 0, 64, 64)
    assert view.flip == view.jitter[0] == view.grayscale_p == view.blur_p == 0


def test_npid_has_one_view_of_moco_v1_not_flipped_when_small():
    for size, flip in ((224, 0.5), (32, 0.0)):
        (view,) = RECIPES["npid"][size].views
        assert view == replace(RECIPES["moco_v1"][size].views[0], flip=flip)


def test_moco_v3_crops_more_of_an_image_for_a_resnet():
    for size in (32, 224):
        expected = [replace(view, scale=(0.2, 1.0)) for view in RECIPES["byol"][size].views]
        assert list(RECIPES["moco_v3_resnet"][size].views) == expected


def test_only_amdim_flips_both_views_or_none():
    shared = {name for name, sizes in RECIPES.items() for r in sizes.values() if getattr(r, "shared_flip", False)}
    assert shared == {"amdim"}
    assert recipe("amdim", 128).shared_flip
    assert recipe("amdim", 128).views[0].scale == (0.3, 1.0)


def test_sizes_up_to_64_come_from_the_small_form_and_larger_ones_from_the_large_form():
    small, large = recipe("simclr", 64), recipe("simclr", 96)
    assert isinstance(small, MultiView)
    assert {view.size for view in small.views} == {64}
    assert {view.blur_p for view in small.views} == {0.0}
    assert {view.size for view in large.views} == {96}
    assert {view.blur_p for view in large.views} == {0.5}
    assert not large.normalize


@pytest.mark.parametrize(("size", "local"), [(32, 16), (64, 32), (28, 16), (128, 48), (224, 96), (384, 160), (96, 48)])
def test_small_crops_keep_their_proportion_on_a_grid_of_patches(size, local):
    sizes = [view.size for view in recipe("dino", size).views]
    assert sizes == [size] * 2 + [local] * 8


@pytest.mark.parametrize("name", ["swav", "dino", "dino_resnet50", "deepcluster_v2"])
@pytest.mark.parametrize(("size", "kernel"), [(96, 9), (128, 13), (224, 23), (384, 39)])
def test_all_crops_of_a_recipe_are_blurred_with_one_kernel_a_tenth_of_the_large_ones(name, size, kernel):
    assert {view.kernel for view in recipe(name, size).views} == {kernel}


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r'no views named "simclrr".*Did you mean "simclr"'):
        recipe("simclrr", 32)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (32, Evaluation(32, 32, "bilinear")),
        (64, Evaluation(64, 64, "bilinear")),
        (224, Evaluation(256, 224, "bilinear")),
        (96, Evaluation(110, 96, "bilinear")),
    ],
)
def test_evaluation_takes_the_center(size, expected):
    assert evaluation(size) == expected
