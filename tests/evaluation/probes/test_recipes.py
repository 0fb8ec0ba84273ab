"""The papers' recipes, as their papers and codes have them."""

import pytest

from sslbolts import UsageError
from sslbolts.evaluation import PROBE_RECIPES, probe_views
from sslbolts.evaluation.probes.recipes import probe_recipe

# optimizer, learning rate at the paper's batch size, batch size, epochs, weight decay: from the papers and their codes.
PUBLISHED = {
    "simclr": ("sgd", 1.6, 4096, 90, 0.0),
    "moco": ("sgd", 30.0, 256, 100, 0.0),
    "byol": ("sgd", 0.8, 1024, 80, 0.0),
    "simsiam": ("lars", 1.6, 4096, 90, 0.0),
    "swav": ("sgd", 0.3, 256, 100, 1e-6),
    "barlow": ("sgd", 0.3, 256, 100, 1e-6),
    "vicreg": ("sgd", 0.02, 256, 100, 1e-6),
    "dino": ("sgd", 0.004, 1024, 100, 0.0),
    "mae": ("lars", 6.4, 16384, 90, 0.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_are_the_published_ones(name):
    recipe = PROBE_RECIPES[name]
    scale = recipe.batch_size / 256 if recipe.lr_scaling == "linear" else 1
    found = (recipe.optimizer, recipe.lr * scale, recipe.batch_size, recipe.epochs, recipe.weight_decay)
    assert found == pytest.approx(PUBLISHED[name])
    assert "arXiv" in recipe.source


def test_moco_decays_at_epochs_60_and_80_and_mae_has_batch_norm():
    assert [milestone * PROBE_RECIPES["moco"].epochs for milestone in PROBE_RECIPES["moco"].milestones] == [60, 80]
    assert (PROBE_RECIPES["mae"].norm, PROBE_RECIPES["mae"].warmup_epochs) == ("batch_norm", 10)


def test_the_crop_is_imagenets():
    view = probe_views("simclr", 224).views[0]
    assert (view.scale, view.flip, view.jitter_p * max(view.jitter), view.grayscale_p) == ((0.08, 1.0), 0.5, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "simclrr"}, 'Did you mean "simclr"'),
        ({"recipe": "moco", "epoch": 3}, 'Did you mean "epochs"'),
        ({"recipe": "moco", "epochs": 0}, "at least 1"),
        ({"recipe": "moco", "lr": -1}, "cannot be negative"),
        ({"recipe": "moco", "lrs": [0.0]}, "must be positive"),
        ({"recipe": "moco", "lr": 1, "lrs": [1]}, "exclude each other"),
        ({"recipe": "moco", "norm": "layer"}, "must be one of none, batch_norm"),
    ],
)
def test_wrong_recipes_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        probe_recipe(**arguments)
