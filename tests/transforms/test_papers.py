import pytest

from sslbolts.errors import UsageError
from sslbolts.transforms import RECIPES, Evaluation, MultiCrop, MultiView, View, evaluation, recipe
from sslbolts.transforms.crops import random_box

RATIO = (3 / 4, 4 / 3)
NONE = (0.0, 0.0, 0.0, 0.0)


def view(
    size,
    scale,
    interpolation,
    jitter=NONE,
    p=0.8,
    gray=0.0,
    *,
    blur=0.0,
    solarize=0.0,
    flip=0.5,
    ratio=RATIO,
    kernel=None,
    color_first=False,
    padding=0.0,
):
    """A view with every field written out, so that a changed default fails here."""
    return View(
        size=size,
        scale=scale,
        ratio=ratio,
        interpolation=interpolation,
        flip=flip,
        jitter=jitter,
        jitter_p=p,
        grayscale_p=gray,
        blur_p=blur,
        blur_sigma=(0.1, 2.0),
        blur_kernel=kernel,
        solarize_p=solarize,
        solarize_threshold=128.0,
        color_first=color_first,
        padding=padding,
    )


STRONG, HALF = (0.8, 0.8, 0.8, 0.2), (0.4, 0.4, 0.4, 0.1)
BYOL = ((0.4, 0.4, 0.2, 0.1), 0.8, 0.2)  # of the asymmetric pair: jitter, its probability, and that of gray
MOCO = (HALF, 0.8, 0.2)
TCN = (32 / 255, 0.0, 0.5, 0.0)  # brightness by up to 32 levels, saturation by half
NPID = ((0.4, 0.4, 0.4, 0.4), 1.0, 0.2)

# What the official codes do when they are run. Above 64 pixels: all of it.
LARGE = {
    "denoising_autoencoder": [view(224, (0.5, 1.0), "bilinear")],
    "context_encoder": [view(224, (0.1, 0.134), "bilinear", ratio=(1.0, 1.0))],
    "bigan": [view(224, (0.59, 0.79), "bilinear", ratio=(1.0, 1.0), flip=0.0)],
    "colorization": [view(224, (0.4944, 0.4944), "bilinear", ratio=(1.0, 1.0))],  # 180 of 256 pixels
    "split_brain": [view(224, (0.4944, 0.4944), "bilinear", ratio=(1.0, 1.0))],
    "mae": [view(224, (0.2, 1.0), "bicubic")],
    "tcn": [view(224, (1.0, 1.0), "bilinear", TCN, 1.0, flip=0.0, ratio=(1.0, 1.0))],
    "tcn_multiview": [view(224, (0.8, 1.0), "bilinear", TCN, 1.0, flip=0.0, ratio=(1.0, 1.0))],
    "simmim": [view(224, (0.67, 1.0), "bilinear")],
    "counting": [view(224, (0.5, 0.8), "bilinear", gray=0.67, ratio=(1.0, 1.0))],
    "simclr": [view(224, (0.08, 1.0), "bicubic", STRONG, 0.8, 0.2, blur=0.5)] * 2,
    "moco_v1": [view(224, (0.2, 1.0), "bilinear", *NPID)] * 2,
    "moco_v2": [view(224, (0.2, 1.0), "bilinear", *MOCO, blur=0.5)] * 2,
    "simsiam": [view(224, (0.2, 1.0), "bilinear", *MOCO, blur=0.5)] * 2,
    "byol": [
        view(224, (0.08, 1.0), "bicubic", *BYOL, blur=1.0),
        view(224, (0.08, 1.0), "bicubic", *BYOL, blur=0.1, solarize=0.2),
    ],
    "moco_v3": [
        view(224, (0.08, 1.0), "bilinear", *BYOL, blur=1.0),
        view(224, (0.08, 1.0), "bilinear", *BYOL, blur=0.1, solarize=0.2),
    ],
    "moco_v3_resnet": [
        view(224, (0.2, 1.0), "bilinear", *BYOL, blur=1.0),
        view(224, (0.2, 1.0), "bilinear", *BYOL, blur=0.1, solarize=0.2),
    ],
    "npid": [view(224, (0.2, 1.0), "bilinear", *NPID)],
    "swav": [view(224, (0.14, 1.0), "bilinear", STRONG, 0.8, 0.2, blur=0.5)] * 2
    + [view(96, (0.05, 0.14), "bilinear", STRONG, 0.8, 0.2, blur=0.5, kernel=23)] * 6,
    "dino": [
        view(224, (0.4, 1.0), "bicubic", *BYOL, blur=1.0),
        view(224, (0.4, 1.0), "bicubic", *BYOL, blur=0.1, solarize=0.2),
        *[view(96, (0.05, 0.4), "bicubic", *BYOL, blur=0.5, kernel=23)] * 8,
    ],
    "dino_resnet50": [
        view(224, (0.14, 1.0), "bicubic", *BYOL, blur=1.0),
        view(224, (0.14, 1.0), "bicubic", *BYOL, blur=0.1, solarize=0.2),
        *[view(96, (0.05, 0.14), "bicubic", *BYOL, blur=0.5, kernel=23)] * 8,
    ],
    "obow": [
        view(224, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0)),
        *[view(160, (0.08, 0.6), "bilinear", *MOCO, blur=0.5)] * 2,
        view(256, (0.6, 1.0), "bilinear", *MOCO),  # patches are cut from it, which are not blurred
    ],
    "bownet": [
        view(224, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0), flip=0.0),
        view(224, (0.08, 1.0), "bilinear", *MOCO),
    ],
    "wmse": [view(224, (0.08, 1.0), "bicubic", STRONG, 0.8, 0.2, blur=0.5, color_first=True)] * 2,  # ImageNet-100
    "wmse4": [view(224, (0.08, 1.0), "bicubic", STRONG, 0.8, 0.2, blur=0.5, color_first=True)] * 4,
    "deepcluster": [view(224, (0.08, 1.0), "bilinear")],
    "multi_task": [view(224, (0.3, 1.0), "bilinear")] * 2,
    "relative_position": [view(224, (0.7626, 0.7626), "bilinear", flip=0.0)],  # (255 / 292) squared
    "jigsaw": [view(224, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0), flip=0.0)],
    "jigsaw_vissl": [view(224, (0.75, 1.0), "bilinear", ratio=(1.0, 1.0), gray=0.66)],
    "simreg": [view(224, (0.2, 1.0), "bilinear")],
    "s4l": [view(224, (0.05, 1.0), "bilinear")],
    "rotnet": [view(224, (0.08, 1.0), "bilinear")],
    "exemplar": [view(224, (0.05, 1.0), "bilinear", ratio=(0.75, 1.33))] * 8,
    "cpc": [view(224, (0.75, 1.0), "bilinear")],
    "amdim": [view(224, (0.3, 1.0), "bicubic", (0.4, 0.4, 0.4, 0.1), 0.8, 0.25, ratio=(0.7, 1.4))] * 2,  # ImageNet
    "mean_teacher": [view(224, (0.08, 1.0), "bilinear", HALF, 1.0)] * 2,
}
# Up to 64 pixels: the official views where there are some (NPID, W-MSE, AMDIM), otherwise the above without blur.
SMALL = {
    "denoising_autoencoder": [view(32, (0.5, 1.0), "bilinear")],
    "context_encoder": [view(32, (0.6, 1.0), "bilinear", ratio=(1.0, 1.0))],
    "bigan": [view(32, (0.59, 0.79), "bilinear", ratio=(1.0, 1.0), flip=0.0)],
    "colorization": [view(32, (0.5, 1.0), "bilinear")],
    "split_brain": [view(32, (0.5, 1.0), "bilinear")],
    "mae": [view(32, (0.08, 1.0), "bicubic")],
    "simmim": [view(32, (0.67, 1.0), "bilinear")],
    "counting": [view(32, (0.5, 0.8), "bilinear", gray=0.67, ratio=(1.0, 1.0))],
    "simclr": [view(32, (0.08, 1.0), "bicubic", HALF, 0.8, 0.2)] * 2,
    "moco_v1": [view(32, (0.2, 1.0), "bilinear", *NPID)] * 2,
    "moco_v2": [view(32, (0.2, 1.0), "bilinear", *MOCO)] * 2,
    "simsiam": [view(32, (0.2, 1.0), "bilinear", *MOCO)] * 2,
    "byol": [view(32, (0.08, 1.0), "bicubic", *BYOL), view(32, (0.08, 1.0), "bicubic", *BYOL, solarize=0.2)],
    "moco_v3": [view(32, (0.08, 1.0), "bilinear", *BYOL), view(32, (0.08, 1.0), "bilinear", *BYOL, solarize=0.2)],
    "moco_v3_resnet": [view(32, (0.2, 1.0), "bilinear", *BYOL), view(32, (0.2, 1.0), "bilinear", *BYOL, solarize=0.2)],
    "npid": [view(32, (0.2, 1.0), "bilinear", *NPID, flip=0.0)],
    "swav": [view(32, (0.14, 1.0), "bilinear", HALF, 0.8, 0.2)] * 2
    + [view(16, (0.05, 0.14), "bilinear", HALF, 0.8, 0.2)] * 6,
    "dino": [
        view(32, (0.4, 1.0), "bicubic", *BYOL),
        view(32, (0.4, 1.0), "bicubic", *BYOL, solarize=0.2),
        *[view(16, (0.05, 0.4), "bicubic", *BYOL)] * 8,
    ],
    "dino_resnet50": [
        view(32, (0.14, 1.0), "bicubic", *BYOL),
        view(32, (0.14, 1.0), "bicubic", *BYOL, solarize=0.2),
        *[view(16, (0.05, 0.14), "bicubic", *BYOL)] * 8,
    ],
    "obow": [
        view(32, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0)),
        *[view(24, (0.08, 0.6), "bilinear", *MOCO)] * 2,
        view(40, (0.6, 1.0), "bilinear", *MOCO),
    ],
    "bownet": [
        view(32, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0), flip=0.0),
        view(32, (0.08, 1.0), "bilinear", *MOCO),
    ],
    "wmse": [view(32, (0.2, 1.0), "bicubic", HALF, 0.8, 0.1, color_first=True)] * 2,
    "wmse4": [view(32, (0.2, 1.0), "bicubic", HALF, 0.8, 0.1, color_first=True)] * 4,
    "deepcluster": [view(32, (0.08, 1.0), "bilinear")],
    "multi_task": [view(32, (0.3, 1.0), "bilinear")] * 2,
    "relative_position": [view(32, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0))],
    "jigsaw": [view(32, (1.0, 1.0), "bilinear", ratio=(1.0, 1.0))],
    "jigsaw_vissl": [view(32, (0.75, 1.0), "bilinear", ratio=(1.0, 1.0), gray=0.66)],
    "simreg": [view(32, (0.2, 1.0), "bilinear")],
    "s4l": [view(32, (0.2, 1.0), "bilinear")],
    "rotnet": [view(32, (0.64, 0.64), "bilinear", ratio=(1.0, 1.0), padding=1 / 8)],
    "exemplar": [view(32, (0.05, 1.0), "bilinear", ratio=(0.75, 1.33))] * 8,
    "cpc": [view(32, (0.75, 1.0), "bilinear")],
    "amdim": [view(32, (0.3, 1.0), "bicubic", (0.4, 0.4, 0.4, 0.2), 0.8, 0.25, ratio=(0.7, 1.4))] * 2,  # STL-10
    "tcn": [view(32, (1.0, 1.0), "bilinear", TCN, 1.0, flip=0.0, ratio=(1.0, 1.0))],
    "tcn_multiview": [view(32, (0.8, 1.0), "bilinear", TCN, 1.0, flip=0.0, ratio=(1.0, 1.0))],
    "mean_teacher": [view(32, (0.6, 1.0), "bilinear", NONE, 1.0)] * 2,
}
ALIASES = {"barlow_twins": "byol", "vicreg": "byol", "deepcluster_v2": "swav"}


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize(("size", "table"), [(224, LARGE), (32, SMALL)], ids=["large", "small"])
def test_views_are_the_papers(name, size, table):
    paper = RECIPES[name][size]
    assert list(paper.views) == table[ALIASES.get(name, name)]
    assert recipe(name, size) is paper
    assert isinstance(paper, MultiCrop) == (ALIASES.get(name, name) in ("swav", "dino", "dino_resnet50"))
    in_unit_interval = {"simclr", "exemplar", "relative_position", "jigsaw", "colorization", "split_brain"}
    in_unit_interval |= {"denoising_autoencoder", "context_encoder", "bigan", "multi_task"}
    assert paper.normalize == (name not in in_unit_interval)
    assert getattr(paper, "shared_flip", False) == (name == "amdim")


def test_the_table_is_frozen():
    assert all(set(sizes) == {32, 224} for sizes in RECIPES.values())
    with pytest.raises(TypeError):
        RECIPES["mine"] = {}
    with pytest.raises(TypeError):
        RECIPES["simclr"][64] = RECIPES["simclr"][32]


@pytest.mark.parametrize(("size", "crop", "whole"), [(224, 160, 256), (32, 24, 40), (128, 96, 144)])
def test_obow_has_a_plain_image_two_crops_and_most_of_the_image_enlarged(size, crop, whole):
    views = recipe("obow", size).views
    assert [view.size for view in views] == [size, crop, crop, whole]
    blur = 0.5 * (size > 64)
    assert [view.blur_p for view in views] == [0.0, blur, blur, 0.0]


def test_the_plain_image_is_the_central_square():
    view = recipe("bownet", 224).views[0]
    assert random_box(view, 300, 500, [(0.3, 0.7, 0.1, 0.9)] * 10) == (0, 100, 300, 300)
    assert random_box(view, 64, 64, [(0.3, 0.7, 0.1, 0.9)] * 10) == (0, 0, 64, 64)
    assert view.flip == view.jitter[0] == view.grayscale_p == view.blur_p == 0


@pytest.mark.parametrize(("size", "hue"), [(32, 0.2), (64, 0.2), (128, 0.1)])
def test_amdim_turns_the_hue_of_small_images_twice_as_far(size, hue):
    assert {(view.jitter, view.interpolation) for view in recipe("amdim", size).views} == {
        ((0.4, 0.4, 0.4, hue), "bicubic")
    }


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
