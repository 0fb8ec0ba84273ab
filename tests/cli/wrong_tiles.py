"""Wrong uses of the methods that cut images into tiles."""

from pathlib import Path
from typing import Any

from sslbolts import Jigsaw, RelativePosition
from sslbolts._lightning import Trainer
from sslbolts.data import CIFAR10MiniDataModule
from tests.cli.wrong import DATA, MODEL, TRAINER, Wrong
from tests.helpers.nets import TinyBackbone

_SETTINGS = [*MODEL, *DATA, *TRAINER, "--trainer.max_epochs=1"]
_RELATIVE = ["fit", "--model=RelativePosition", *_SETTINGS]
_JIGSAW = ["fit", "--model=Jigsaw", *_SETTINGS]


def _fit_on_small_images(files: Path) -> Any:
    data = CIFAR10MiniDataModule(batch_size=8, num_workers=0, views="relative_position")
    method = RelativePosition(TinyBackbone(), hidden_dim=8)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_steps=1, accelerator="cpu", logger=False, num_sanity_val_steps=0, **quiet).fit(method, data)


WRONG_TILES = [
    Wrong(
        "patches of large images on small ones",
        [*_RELATIVE, "--data.views=relative_position"],
        "3x3 tiles of 96 pixels in cells of 144 take 398 pixels, with what they are moved, and the images have 32",
        _fit_on_small_images,
    ),
    Wrong(
        "patches without a gap for their jitter",
        [*_RELATIVE, "--model.patch_size=8", "--model.cell_size=10", "--model.jitter=3"],
        "a tile of 8 pixels that is moved by up to jitter=3, does not fit into cells of cell_size=10",
        lambda files: RelativePosition(TinyBackbone(), patch_size=8, cell_size=10, jitter=3),
    ),
    Wrong(
        "more permutations than there are",
        [*_JIGSAW, "--model.grid=2", "--model.num_permutations=25"],
        "num_permutations=25: 4 tiles have 24 permutations; give 2 to that many.",
        lambda files: Jigsaw(TinyBackbone(), grid=2, num_permutations=25),
    ),
]
