"""Values of the official codes of the methods that cut images into tiles, as test_published_values reads them."""

from typing import Any

PUBLISHED_TILES: dict[str, dict[str, Any]] = {
    "relative_position_imagenet": {  # revisiting
        "run": (35, 128, "relative_position"),
        "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 5,
        "patch_size": 64,
        "cell_size": 85,
        "jitter": 21,
        "grayscale_p": 0.66,
        "patch_dim": 1000,
        "hidden_dim": 4096,
        "dropout": 0.5,
        "head_weight_decay": 5e-4,
    },
    "jigsaw_imagenet": {  # VISSL
        "run": (105, 256, "jigsaw_vissl"),
        "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
        "warmup_epochs": 5,
        "tile_size": 64,
        "cell_size": 85,
        "jitter": 20,
        "channel_shift": 0,
        "num_permutations": 2000,
        "tile_dim": 1000,
        "hidden_dim": None,
        "batch_norm": True,
        "bias_lr_scale": 1,
    },
}

STEPPED_TILES: list[tuple[str, int, int, int, dict[int, float]]] = [
    ("relative_position_imagenet", 35, 9618, 48090, {5: 1, 14: 1, 15: 0.1, 24: 0.1, 25: 0.01, 34: 0.01}),
    ("jigsaw_imagenet", 105, 5004, 25020, {5: 1, 29: 1, 30: 0.1, 59: 0.1, 60: 0.01, 89: 0.01, 90: 1e-3, 100: 1e-4}),
]
