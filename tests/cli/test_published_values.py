"""The long configurations have the values of the official codes, also where a method's default gives them."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sslbolts import SSLModule
from sslbolts.methods.registry import get_method
from sslbolts.transforms import View
from tests.cli.published_tiles import PUBLISHED_TILES, STEPPED_TILES

CONFIGS = Path(__file__).parents[2] / "configs"

SOLO_LARS = {"trust_coefficient": 0.02, "clip": True}

# Executed or read in the official codes (moco's notebook and the papers of SimSiam and BYOL included), for the whole
# batch of all devices. "lr" is the peak.
PUBLISHED: dict[str, dict[str, Any]] = {
    **PUBLISHED_TILES,
    "colorization_imagenet": {
        "run": (28, 80, "colorization"),
        "Adam": {"lr": 3e-5, "betas": (0.9, 0.999), "weight_decay": 1e-3},
        "warmup_epochs": 0,
        "final_lr": 0,
        "bias_lr_scale": 2,
        "stride": 8,
        "neighbors": 10,
        "lambd": 0.5,
    },
    "split_brain_imagenet": {  # with the optimizer of colorization
        "run": (28, 80, "split_brain"),
        "Adam": {"lr": 3e-5, "betas": (0.9, 0.999), "weight_decay": 1e-3},
        "warmup_epochs": 0,
        "final_lr": 0,
        "bias_lr_scale": 2,
        "target_size": 12,
    },
    "mae_imagenet": {
        "run": (800, 4096, "mae"),
        "AdamW": {"lr": 2.4e-3, "betas": (0.9, 0.95), "weight_decay": 0.05},
        "warmup_epochs": 40,
        "final_lr": 0,
        "mask_ratio": 0.75,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
        "normalize_patches": True,
    },
    "context_encoder_imagenet": {
        "run": (500, 64, "context_encoder"),
        "Adam": {"lr": 2e-4, "betas": [0.5, 0.999]},
        "warmup_epochs": 0,
        "final_lr": 1,
        "backbone": "sslbolts/context_encoder",
        "backbone_kwargs": {"image_size": 128, "bottleneck_dim": 4000},
        "masks": "center",
        "output_size": 64,
        "overlap": 4,
        "adversarial_weight": 0.001,
    },
    "bigan_imagenet": {
        "run": (100, 128, "bigan"),
        "Adam": {"lr": 2e-4, "betas": [0.5, 0.999], "weight_decay": 2.5e-5},
        "warmup_epochs": 0,
        "final_lr": 0.01,
        "decay_from": 0.5,
        "backbone": "sslbolts/bigan",
        "latent_dim": 200,
        "generator_size": 64,
    },
    "simmim_imagenet": {
        "run": (800, 2048, "simmim"),
        "AdamW": {"lr": 4e-4, "betas": (0.9, 0.999), "weight_decay": 0.05},
        "warmup_epochs": 10,
        "milestones": [0.875],
        "mask_ratio": 0.6,
        "mask_size": 32,
    },
    "counting_imagenet": {
        "run": (90, 128, "counting"),
        "Adam": {"lr": 1e-4},
        "num_counts": 1000,
        "margin": 10.0,
    },
    "mae_cifar10": {
        "run": (1000, 256, "mae"),
        "AdamW": {"lr": 2e-4, "betas": (0.9, 0.95), "weight_decay": 0.05},
        "mask_ratio": 0.75,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
    "s4l_rotation_imagenet": {
        "run": (-1, 512, "s4l"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-3},
        "milestones": [140 / 200, 160 / 200, 180 / 200],
        "weight": 1.0,
        "method": None,
    },
    "exemplar_imagenet": {
        "run": (35, 64, "exemplar"),
        "SGD": {"lr": 0.025, "momentum": 0.9},
        "warmup_epochs": 5,
        "objective": "semi_hard",
        "output_dim": 1000,
        "margin": 0.5,
        "grayscale_p": 0.66,
    },
    "rotnet_cifar10": {
        "run": (200, 128, "rotnet"),
        "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        "warmup_epochs": 0,
    },
    "rotnet_imagenet": {
        "run": (50, 192, "rotnet"),
        "SGD": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        "warmup_epochs": 0,
    },
    "time_contrastive_frames": {  # 32 examples, which are 16 pairs
        "run": (200, 16, "tcn_multiview"),  # of our own length
        "Adam": {"lr": 1e-4, "weight_decay": 1e-6},
        "warmup_epochs": 0,
        "final_lr": 1,
        "loss": "n_pairs",
        "layer": "Mixed_5d",
        "regularization": 0.002,
        "hidden_dim": 2048,
        "output_dim": 32,
        "dropout": 0.2,
    },
    "simclr_imagenet": {
        "run": (1000, 4096, "simclr"),
        "LARS": {"lr": 4.8, "weight_decay": 1e-6, "lr_in_momentum": True},
        "warmup_epochs": 10,
        "final_lr": 0,
        "temperature": 0.1,
        "hidden_dim": 2048,
        "output_dim": 128,
    },
    "moco_v1_imagenet": {
        "run": (200, 256, "moco_v1"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        "hidden_dim": None,
        "temperature": 0.07,
        "queue_length": 65536,
        "momentum": 0.999,
    },
    "moco_imagenet": {
        "run": (200, 256, "moco_v2"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 0,
        "milestones": (),
        "final_lr": 0,
        "hidden_dim": 2048,
        "temperature": 0.2,
        "queue_length": 65536,
        "momentum": 0.999,
    },
    "moco_cifar10": {
        "run": (200, 512, None),
        "SGD": {"lr": 0.06, "momentum": 0.9, "weight_decay": 5e-4},
        "warmup_epochs": 0,
        "milestones": (),
        "final_lr": 0,
        "hidden_dim": None,
        "temperature": 0.1,
        "queue_length": 4096,
        "momentum": 0.99,
        "bn_splits": 8,
    },
    "moco_v3_imagenet": {
        "run": (300, 4096, "moco_v3_resnet"),
        "LARS": {"lr": 4.8, "weight_decay": 1e-6},
        "warmup_epochs": 10,
        "final_lr": 0,
        "temperature": 1.0,
        "momentum": 0.99,
    },
    "moco_v3_vit_imagenet": {
        "run": (300, 4096, "moco_v3"),
        "AdamW": {"lr": 2.4e-3, "weight_decay": 0.1},
        "warmup_epochs": 40,
        "final_lr": 0,
        "temperature": 0.2,
        "momentum": 0.99,
    },
    "byol_imagenet": {
        "run": (1000, 4096, "byol"),
        "LARS": {"lr": 3.2, "weight_decay": 1.5e-6},
        "warmup_epochs": 10,
        "final_lr": 0,
        "momentum": 0.996,
    },
    "simsiam_imagenet": {
        "run": (100, 512, "simsiam"),
        "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 0,
        "final_lr": 0,
        "projector_layers": 3,
        "predictor_dim": 512,
        "fix_predictor_lr": True,
    },
    "simsiam_cifar10": {
        "run": (200, 512, "simsiam"),  # of 800 epochs
        "SGD": {"lr": 0.06, "momentum": 0.9, "weight_decay": 5e-4},
        "warmup_epochs": 0,
        "final_lr": 0,
        "projector_layers": 2,
    },
    "dino_imagenet": {
        "run": (100, 512, "dino"),
        "AdamW": {"lr": 1e-3, "weight_decay": 0.04},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "final_weight_decay": 0.4,
        "momentum": 0.996,
        "teacher_temperature": 0.04,
        "clip": 3.0,
        "drop_path": 0.1,
    },
    "dino_resnet50_imagenet": {
        "run": (100, 512, "dino_resnet50"),
        "SGD": {"lr": 0.06, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 10,
        "final_weight_decay": None,
        "teacher_temperature": 0.04,
    },
    "swav_imagenet": {
        "run": (800, 4096, "swav"),
        "LARC": {"lr": 4.8, "weight_decay": 1e-6, "trust_coefficient": 1e-3},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "temperature": 0.1,
        "epsilon": 0.05,
        "num_prototypes": 3000,
        "freeze_prototypes_steps": 313,
    },
    "deepcluster_imagenet": {
        "run": (200, 256, "deepcluster"),
        "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-5},
        "warmup_epochs": 0,
        "num_clusters": 10000,
        "pca_dim": 256,
        "sobel": True,
    },
    "deepcluster_v2_imagenet": {
        "run": (800, 4096, "deepcluster_v2"),
        "LARC": {"lr": 4.8, "weight_decay": 1e-6, "trust_coefficient": 1e-3},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "temperature": 0.1,
        "num_prototypes": [3000, 3000, 3000],
    },
    "obow_imagenet": {
        "run": (200, 256, "obow"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "kappa": 8,
        "inverse_delta": 15,
        "num_words": 8192,
        "num_patches": 5,
        "momentum": 0.99,
    },
    "obow_cifar10": {  # the official ResNet-18's, whose 80 epochs are of 260,000 images
        "run": (200, 128, "obow"),
        "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4},
        "warmup_epochs": 0,
        "final_lr": 0,
        "kappa": 5,
        "inverse_delta": 10,
        "num_words": 8192,
        "num_patches": 5,
        "momentum": 0.99,
    },
    "barlow_twins_imagenet": {
        "run": (1000, 2048, "barlow_twins"),
        "LARS": {"lr": 1.6, "weight_decay": 1e-6},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "lambd": 0.0051,
        "bias_lr_scale": 0.024,
    },
    "vicreg_imagenet": {
        "run": (1000, 2048, "vicreg"),
        "LARS": {"lr": 1.6, "weight_decay": 1e-6},
        "warmup_epochs": 10,
        "final_lr": 1e-3,
        "scaling": "code",
    },
    "wmse_cifar10": {
        "run": (200, 512, "wmse"),  # of 1000 epochs
        "Adam": {"lr": 3e-3, "weight_decay": 1e-6},
        "hidden_dim": 1024,
        "output_dim": 64,
        "group_size": 128,
        "iterations": 1,
    },
    "instance_discrimination_cifar10": {
        "run": (200, 128, "npid"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 5e-4},
        "temperature": 0.1,
        "num_negatives": None,
        "memory_momentum": 0.5,
    },
    "instance_discrimination_imagenet": {
        "run": (200, 256, "npid"),
        "SGD": {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        "temperature": 0.07,
        "num_negatives": 4096,
        "memory_momentum": 0.5,
    },
    "amdim_cifar10": {
        "run": (300, 200, "amdim"),
        "Adam": {"lr": 2e-4, "betas": [0.8, 0.999], "weight_decay": 1e-5},
        "clip": 20,
        "regularization": 0.05,
    },
    "amdim_imagenet": {
        "run": (50, 480, "amdim"),
        "Adam": {"lr": 2e-4, "betas": [0.8, 0.999], "weight_decay": 1e-5},
        "clip": 20,
        "regularization": 0.05,
    },
    # solo-learn's
    "barlow_twins_cifar10": {
        "run": (200, 256, "barlow_twins"),
        "LARS": {"lr": 0.3, "weight_decay": 1e-4} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "scale_loss": 0.1,
        "bias_lr_scale": 1,
        "hidden_dim": 2048,
        "output_dim": 2048,
    },
    "byol_cifar10": {
        "run": (200, 256, "byol"),
        "LARS": {"lr": 1.0, "weight_decay": 1e-5} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "momentum": 0.99,
    },
    "deepcluster_v2_cifar10": {
        "run": (200, 256, None),
        "LARS": {"lr": 0.6, "weight_decay": 1e-6} | SOLO_LARS,
        "warmup_epochs": 11,
        "final_lr": 1e-3,
        "num_prototypes": [3000, 3000, 3000],
        "temperature": 0.1,
    },
    "dino_cifar10": {
        "run": (200, 256, "byol"),
        "LARS": {"lr": 0.3, "weight_decay": 1e-6} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "final_weight_decay": None,
        "momentum": 0.9995,
        "output_dim": 4096,
    },
    "moco_v3_cifar10": {
        "run": (200, 512, "byol"),
        "LARS": {"lr": 0.6, "weight_decay": 1e-6} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "momentum": 0.99,
        "temperature": 0.2,
    },
    "simclr_cifar10": {
        "run": (200, 512, "simclr"),
        "LARS": {"lr": 0.8, "weight_decay": 1e-4, "lr_in_momentum": False} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "temperature": 0.2,
    },
    "swav_cifar10": {
        "run": (200, 256, None),
        "LARS": {"lr": 0.6, "weight_decay": 1e-6} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
        "queue_length": 3840,
        "queue_from_epoch": 50,
        "freeze_prototypes_steps": 2 * 195,
        "temperature": 0.1,
    },
    "vicreg_cifar10": {
        "run": (200, 256, "vicreg"),
        "LARS": {"lr": 0.3, "weight_decay": 1e-4} | SOLO_LARS,
        "warmup_epochs": 10,
        "final_lr": 0,
    },
    "distillation_imagenet": {
        "run": (130, 256, "simreg"),
        "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 0,
        "final_lr": 0,
    },
}


def _read(name: str) -> tuple[type[SSLModule], dict[str, Any], dict[str, Any]]:
    """Method, configuration, and the method's arguments with the defaults of those that are not in it."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    method = get_method(config["model"]["class_path"].rpartition(".")[2])
    own = inspect.signature(method.__init__).parameters
    base = inspect.signature(SSLModule.__init__).parameters
    defaults = {key: p.default for key, p in (base | own).items() if p.default is not p.empty}
    return method, config, defaults | config["model"]["init_args"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_has_the_official_values(name):
    _, config, arguments = _read(name)
    data, trainer = config["data"]["init_args"], config["trainer"]
    batch = data["batch_size"] * trainer["devices"]
    views = data["views"] if isinstance(data["views"], str) else None
    expected = dict(PUBLISHED[name])
    assert (trainer["max_epochs"], batch, views) == expected.pop("run")

    (optimizer,) = (key for key in expected if key[0].isupper())
    assert arguments["optimizer"]["class_path"].rpartition(".")[2] == optimizer
    settings = dict(arguments["optimizer"]["init_args"])
    settings["lr"] *= 1 if arguments["lr_scaling"] == "none" else batch / 256
    official = expected.pop(optimizer)
    for key, value in official.items():
        assert settings[key] == pytest.approx(value), key
    for key, value in expected.items():
        assert arguments[key] == value, key


SYMMETRIC = View(  # solo-learn's
    32,
    scale=(0.08, 1.0),
    interpolation="bicubic",
    jitter=(0.8, 0.8, 0.8, 0.2),
    jitter_p=0.8,
    grayscale_p=0.2,
    blur_p=0.5,
    blur_kernel=13,
)
NOTEBOOK = View(32, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale_p=0.2)  # MoCo's


@pytest.mark.parametrize(
    ("name", "view"),
    [("swav_cifar10", SYMMETRIC), ("deepcluster_v2_cifar10", SYMMETRIC), ("moco_cifar10", NOTEBOOK)],
)
def test_a_configuration_with_views_of_its_own_has_those_that_it_names(name, view):
    _, config, _ = _read(name)
    assert [View(**written) for written in config["data"]["init_args"]["views"]["views"]] == [view, view]


# The factor on the peak in the official run, from an epoch on until the next that is named.
# Colorization falls from 3e-5 to 1e-5, 3e-6 and 1e-6 after 240, 300 and 400 of 450 thousand steps, here of 448.
STEPPED = [
    ("colorization_imagenet", 28, 16014, 0, {0: 1, 13: 1, 15: 0.1**0.5, 17: 0.1**0.5, 19: 0.1, 23: 0.1, 25: 0.1**1.5}),
    ("instance_discrimination_cifar10", 200, 390, 0, {0: 1, 119: 1, 120: 0.1, 159: 0.1, 160: 0.01, 199: 0.01}),
    ("instance_discrimination_imagenet", 200, 5004, 0, {0: 1, 119: 1, 120: 0.1, 159: 0.1, 160: 0.01, 199: 0.01}),
    ("moco_v1_imagenet", 200, 5004, 0, {0: 1, 119: 1, 120: 0.1, 159: 0.1, 160: 0.01, 199: 0.01}),
    ("rotnet_cifar10", 200, 390, 0, {0: 1, 59: 1, 60: 0.2, 119: 0.2, 120: 0.04, 159: 0.04, 160: 0.008, 199: 0.008}),
    ("rotnet_imagenet", 50, 6672, 0, {0: 1, 14: 1, 15: 0.1, 29: 0.1, 30: 0.01, 44: 0.01, 45: 1e-3, 49: 1e-3}),
    ("amdim_cifar10", 300, 250, 500, {2: 1, 250: 1, 251: 0.2, 280: 0.2, 281: 0.04, 299: 0.04}),
    ("amdim_imagenet", 50, 2669, 500, {1: 1, 30: 1, 31: 0.2, 45: 0.2, 46: 0.04, 49: 0.04}),
    *STEPPED_TILES,
    ("wmse_cifar10", 200, 97, 500, {6: 1, 149: 1, 150: 0.2, 174: 0.2, 175: 0.04, 199: 0.04}),
]


@pytest.mark.parametrize(("name", "epochs", "steps", "warmup", "expected"), STEPPED, ids=[row[0] for row in STEPPED])
def test_the_learning_rate_falls_when_the_official_one_does(name, epochs, steps, warmup, expected):
    method, config, arguments = _read(name)
    assert config["trainer"]["max_epochs"] == epochs
    assert round(arguments["warmup_epochs"] * steps) == warmup
    settings = SimpleNamespace(
        milestones=arguments["milestones"],
        final_lr=arguments["final_lr"],
        milestone_factor=arguments.get("milestone_factor", method.milestone_factor),
        warmup_lead=method.warmup_lead,
    )

    def factor(step: int) -> float:
        return method.lr_factor(settings, step, total=epochs * steps, warmup=warmup)

    for epoch, value in expected.items():
        for step in (epoch * steps, (epoch + 1) * steps - 1):
            assert factor(step) == pytest.approx(value), (epoch, step)
    first = 1 if warmup == 500 else 0  # of a warm-up over whole epochs, the first step has a learning rate of 0
    for step in range(warmup):
        assert factor(step) == pytest.approx((step + first) / warmup)


def test_s4l_has_the_official_steps_and_labels():
    """128,000 labels in batches of 256 are 500 steps, of which there are 200 times as many, 5 of them warm-up."""
    _, config, arguments = _read("s4l_rotation_imagenet")
    data, trainer = config["data"]["init_args"], config["trainer"]
    labels = 1000 * data["labels_per_class"]
    batch = data["labeled_batch_size"] * trainer["devices"]
    assert (labels, batch, data["batch_size"]) == (128_000, 256, 2 * data["labeled_batch_size"])
    assert trainer["max_steps"] == 200 * labels // batch
    steps_per_epoch = (1_281_167 - labels) // batch
    assert round(arguments["warmup_epochs"] * steps_per_epoch) == 5 * labels // batch
