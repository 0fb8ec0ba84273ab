"""The papers' settings of fine-tuning, as their papers and codes have them."""

from typing import Any

import pytest

from sslbolts.evaluation.fine_tuning.settings import FINE_TUNE_SETTINGS

# Learning rates are those at the batch size beside them. Read in the repositories named; what a command of theirs says
# stands before what the code has as a default.
PUBLISHED: dict[str, dict[str, Any]] = {
    # mae: FINETUNE.md and main_finetune.py; blr 5e-4 for 256 images
    "mae": {
        "optimizer": "adamw", "lr": 2e-3, "head_lr": 2e-3, "batch_size": 1024, "lr_scaling": "linear", "epochs": 100,
        "weight_decay": 0.05, "layer_decay": 0.65, "warmup_epochs": 5, "decay": "cosine", "min_lr": 1e-6,
        "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "drop_path": 0.1, "head_std": 2e-5, "pooling": "mean",
        "interpolation": "bicubic",
    },
    # the same, for ViT-L; blr 1e-3
    "mae_large": {
        "optimizer": "adamw", "lr": 4e-3, "head_lr": 4e-3, "batch_size": 1024, "lr_scaling": "linear", "epochs": 50,
        "weight_decay": 0.05, "layer_decay": 0.75, "warmup_epochs": 5, "decay": "cosine", "min_lr": 1e-6,
        "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "drop_path": 0.2, "head_std": 2e-5, "pooling": "mean",
        "interpolation": "bicubic",
    },
    # unilm/beit: get_started_for_image_classification.md, BEiT-base from pt22k, 8 GPUs of 128 images
    "beit": {
        "optimizer": "adamw", "lr": 4e-3, "head_lr": 4e-3, "batch_size": 1024, "lr_scaling": "linear", "epochs": 100,
        "weight_decay": 0.05, "layer_decay": 0.65, "warmup_epochs": 20, "decay": "cosine", "min_lr": 1e-6,
        "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "drop_path": 0.1, "pooling": "mean",
        "interpolation": "bicubic",
    },
    # SimCLR's appendix B.5: 0.05 B/256, Nesterov, B = 4096, no decay and no warm-up, 60 epochs for 1 %, 30 for 10 %
    "simclr_1pct": {
        "optimizer": "sgd", "lr": 0.8, "head_lr": 0.8, "batch_size": 4096, "lr_scaling": "linear", "epochs": 60,
        "nesterov": True, "weight_decay": 0.0, "warmup_epochs": 0, "interpolation": "bicubic",
    },
    "simclr_10pct": {
        "optimizer": "sgd", "lr": 0.8, "head_lr": 0.8, "batch_size": 4096, "lr_scaling": "linear", "epochs": 30,
        "nesterov": True, "weight_decay": 0.0, "warmup_epochs": 0, "interpolation": "bicubic",
    },
    # SimCLR's appendix B.8: SGD with Nesterov momentum 0.9, batches of 256
    "simclr": {
        "optimizer": "sgd", "batch_size": 256, "nesterov": True, "decay": "cosine", "warmup_epochs": 0,
        "interpolation": "bicubic",
    },
    # swav: README and eval_semisup.py; times 0.2 at epochs 12 and 16 of 20, 8 GPUs of 32 images
    "swav_1pct": {
        "optimizer": "sgd", "lr": 0.02, "head_lr": 5.0, "batch_size": 256, "lr_scaling": "none", "epochs": 20,
        "nesterov": False, "weight_decay": 0.0, "decay": "steps", "milestones": (12 / 20, 16 / 20),
        "step_factor": 0.2, "interpolation": "bilinear",
    },
    "swav_10pct": {
        "optimizer": "sgd", "lr": 0.01, "head_lr": 0.2, "batch_size": 256, "lr_scaling": "none", "epochs": 20,
        "nesterov": False, "weight_decay": 0.0, "decay": "steps", "milestones": (12 / 20, 16 / 20),
        "step_factor": 0.2, "interpolation": "bilinear",
    },
    # barlowtwins: README's command (--lr-backbone 0.002; 0.005 in an earlier README) and evaluate.py
    "barlow_1pct": {
        "optimizer": "sgd", "lr": 0.002, "head_lr": 0.5, "batch_size": 256, "lr_scaling": "none", "epochs": 20,
        "nesterov": False, "weight_decay": 0.0, "decay": "cosine", "min_lr": 0.0, "head_std": 0.01,
        "interpolation": "bilinear",
    },
    # vicreg: README's commands and evaluate.py
    "vicreg_1pct": {
        "optimizer": "sgd", "lr": 0.03, "head_lr": 0.08, "batch_size": 256, "lr_scaling": "none", "epochs": 20,
        "nesterov": False, "weight_decay": 0.0, "decay": "cosine", "min_lr": 0.0, "head_std": 0.01,
        "interpolation": "bilinear",
    },
    "vicreg_10pct": {
        "optimizer": "sgd", "lr": 0.01, "head_lr": 0.1, "batch_size": 256, "lr_scaling": "none", "epochs": 20,
        "nesterov": False, "weight_decay": 0.0, "decay": "cosine", "min_lr": 0.0, "head_std": 0.01,
        "interpolation": "bilinear",
    },
    # FeatureLearningRotNet: the supervised network on CIFAR-10, lr .1, .02, .004, .0008 from 0, 60, 120, 160 of 200
    "rotnet_supervised": {
        "optimizer": "sgd", "lr": 0.1, "head_lr": 0.1, "batch_size": 128, "lr_scaling": "none", "epochs": 200,
        "nesterov": True, "weight_decay": 5e-4, "decay": "steps", "milestones": (60 / 200, 120 / 200, 160 / 200),
        "step_factor": 0.2,
    },
}  # fmt: skip


def test_all_settings_have_a_source_to_be_compared_with() -> None:
    assert set(PUBLISHED) == set(FINE_TUNE_SETTINGS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name: str) -> None:
    settings, published = FINE_TUNE_SETTINGS[name], PUBLISHED[name]
    scale = settings.batch_size / 256 if settings.lr_scaling == "linear" else 1.0
    head_lr = settings.lr if settings.head_lr is None else settings.head_lr
    for setting, value in published.items():
        found = {"lr": settings.lr * scale, "head_lr": head_lr * scale}.get(setting, getattr(settings, setting))
        assert found == (pytest.approx(value) if isinstance(value, float | tuple) else value), setting
    assert "arXiv" in settings.source
    plain = {"layer_decay": 1.0, "mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0, "drop_path": 0.0}
    for setting, value in plain.items():
        if setting not in published:
            assert getattr(settings, setting) == value, setting
