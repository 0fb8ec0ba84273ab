"""The papers' settings of probes, as their papers and codes have them."""

import pytest

from sslbolts import UsageError
from sslbolts.evaluation import PROBE_SETTINGS, probe_views
from sslbolts.evaluation.probes.settings import probe_settings

# What is not named: plain momentum, no warm-up, a cosine to 0, no norm, weights of deviation 0.01, bilinear crops.
PLAIN = {
    "nesterov": False, "weight_decay": 0.0, "warmup_epochs": 0.0, "decay": "cosine", "norm": "none",
    "weight_std": 0.01, "interpolation": "bilinear", "crop": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "padding": 0.0,
}  # fmt: skip
ROTNET = {
    "optimizer": "sgd", "lrs": [0.1], "lr_scaling": "none", "batch_size": 128, "epochs": 100, "nesterov": True,
    "weight_decay": 5e-4, "decay": "steps", "step_factor": 0.2, "crop": (0.64, 0.64), "ratio": (1.0, 1.0),
    "padding": 4 / 32,
}  # fmt: skip
# Learning rates are those at the batch size beside them; epochs of the milestones are absolute.
PUBLISHED = {
    # simclr: README (90 epochs, batches of 4096, lr 0.1, no decay and warm-up), run.py, data_util.py
    "simclr": {
        "optimizer": "sgd", "lrs": [1.6], "batch_size": 4096, "lr_scaling": "linear", "epochs": 90, "nesterov": True,
        "weight_std": 0.0, "interpolation": "bicubic",
    },
    # moco: main_lincls.py
    "moco": {
        "optimizer": "sgd", "lrs": [30.0], "batch_size": 256, "epochs": 100, "decay": "steps", "milestones": [60, 80],
        "step_factor": 0.1,
    },
    # byol: appendix C.1, byol/configs/eval.py and utils/dataset.py; five rates around 0.2 for 256 images
    "byol": {
        "optimizer": "sgd", "lrs": [0.2, 0.4, 0.8, 1.2, 1.6], "batch_size": 1024, "lr_scaling": "linear",
        "epochs": 80, "nesterov": True, "interpolation": "bicubic",
    },
    # simsiam: main_lincls.py --lars, which is apex's LARC of all tensors, without clipping
    "simsiam": {"optimizer": "larc", "lrs": [1.6], "batch_size": 4096, "lr_scaling": "linear", "epochs": 90},
    # swav: eval_linear.py, 8 GPUs of 32 images
    "swav": {
        "optimizer": "sgd", "lrs": [0.3], "batch_size": 256, "lr_scaling": "none", "epochs": 100, "weight_decay": 1e-6,
    },
    # barlowtwins: evaluate.py
    "barlow": {
        "optimizer": "sgd", "lrs": [0.3], "batch_size": 256, "lr_scaling": "none", "epochs": 100, "weight_decay": 1e-6,
    },
    # vicreg: README's command (--lr-head 0.02) and evaluate.py
    "vicreg": {
        "optimizer": "sgd", "lrs": [0.02], "batch_size": 256, "lr_scaling": "none", "epochs": 100,
        "weight_decay": 1e-6,
    },
    # dino: eval_linear.py, 8 GPUs of 128 images, 0.001 for 256 images
    "dino": {"optimizer": "sgd", "lrs": [0.004], "batch_size": 1024, "lr_scaling": "linear", "epochs": 100},
    # dinov2: dinov2/eval/linear.py, 8 GPUs of 128 images; rates for 256 images; 10 epochs of 1,250 steps
    "dinov2": {
        "optimizer": "sgd", "batch_size": 1024, "lr_scaling": "linear", "epochs": 10, "interpolation": "bicubic",
        "lrs": [4 * lr for lr in (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)],
    },
    # mae: FINETUNE.md and main_linprobe.py
    "mae": {
        "optimizer": "lars", "lrs": [6.4], "batch_size": 16384, "lr_scaling": "linear", "epochs": 90,
        "warmup_epochs": 10, "norm": "batch_norm", "interpolation": "bicubic",
    },
    # amdim: task_classifiers.py for CIFAR and STL-10, and train.py
    "amdim": {
        "optimizer": "adam", "lrs": [2e-4], "batch_size": 200, "lr_scaling": "none", "epochs": 120,
        "betas": (0.8, 0.999), "weight_decay": 1e-5, "decay": "steps", "milestones": [80, 110], "step_factor": 0.2,
    },
    # rotnet: config/CIFAR10_{ConvClassifier,MultLayerClassifier}_on_RotNet_NIN4blocks_Conv2_feats.py; squares of 32
    # pixels out of 40, which are 0.64 of the area
    "rotnet_conv": {**ROTNET, "milestones": [35, 70, 85]},
    "rotnet_mlp": {**ROTNET, "milestones": [20, 40, 45]},
}  # fmt: skip


def test_all_settings_but_our_own_have_a_source_to_be_compared_with():
    assert set(PUBLISHED) == set(PROBE_SETTINGS) - {"features"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name):
    settings = PROBE_SETTINGS[name]
    scale = settings.batch_size / 256 if settings.lr_scaling == "linear" else 1
    translated = {
        "lrs": [lr * scale for lr in settings.lrs],
        "milestones": [milestone * settings.epochs for milestone in settings.milestones],
    }
    for setting, value in (PLAIN | PUBLISHED[name]).items():
        found = translated.get(setting, getattr(settings, setting))
        assert found == (pytest.approx(value) if isinstance(value, list) else value), setting
    assert "arXiv" in settings.source


def test_the_crop_is_imagenets():
    view = probe_views("simclr", 224).views[0]
    assert (view.scale, view.flip, view.jitter_p * max(view.jitter), view.grayscale_p) == ((0.08, 1.0), 0.5, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": "simclrr"}, 'Did you mean "simclr"'),
        ({"settings": "moco", "epoch": 3}, 'Did you mean "epochs"'),
        ({"settings": "moco", "epochs": 0}, "at least 1"),
        ({"settings": "moco", "lr": -1}, "lr=-1: it must be at least 0"),
        ({"settings": "moco", "lr": [0.0]}, "must be positive"),
        ({"settings": "moco", "lr": []}, "at least one learning rate"),
        ({"settings": "moco", "norm": "layer"}, "must be one of none, batch_norm"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        probe_settings(**arguments)
