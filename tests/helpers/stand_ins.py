"""Files that the pages of the documentation speak of, small: photos, a trained checkpoint, other libraries' files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from sslbolts import SimCLR
from sslbolts._lightning import Trainer
from sslbolts.data import SSLDataModule
from tests.bolts.formula import weights
from tests.helpers.few_images import use_few_images
from tests.helpers.pages import ROOT
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4, "output_stride": 8}


def write_photos(root: Path, classes: int = 2, per_class: int = 8) -> None:
    """Folders of classes with PNG files of noise, 40 x 36 pixels."""
    noise = np.random.default_rng(0)
    for number in range(classes * per_class):
        path = root / f"class{number % classes}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(noise.integers(0, 256, (36, 40, 3), dtype=np.uint8)).save(path)


def write_checkpoint(path: Path) -> None:
    """A SimCLR that was trained for a step."""
    torch.manual_seed(0)
    small = {"backbone_kwargs": TINY, "hidden_dim": 16, "output_dim": 8, "warmup_epochs": 0.0}
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(SimCLR("resnet18", **small), noise_loader(8, 8))
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(path)


def write_checkpoints_of_other_libraries(folder: Path) -> None:
    """Names and shapes as these libraries write them."""
    with np.load(ROOT / "tests" / "bolts" / "recorded.npz") as recorded:
        said = json.loads(str(recorded["layout/simclr"]))
    bolts = {"state_dict": weights(said["shapes"]), "hyper_parameters": said["hparams"]}
    torch.save(bolts, folder / "lightning_bolts_simclr.ckpt")
    network = torchvision.models.resnet18()
    children = torch.nn.Sequential(*list(network.children())[:-1]).state_dict()
    names = ("backbone.", "backbone_momentum.")
    lightly = {prefix + name: tensor for prefix in names for name, tensor in children.items()}
    torch.save({"state_dict": lightly}, folder / "lightly_byol.ckpt")
    solo = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**solo, "classifier.weight": torch.zeros(10, 512)}}, folder / "solo_learn.ckpt")


def write_all(folder: Path) -> None:
    """All of these, by the names that pages use; and the repository's configurations and notebooks."""
    write_photos(folder / "photos")
    write_checkpoint(folder / "runs" / "demo" / "simclr.ckpt")
    write_checkpoints_of_other_libraries(folder)
    for name in ("configs", "notebooks"):
        (folder / name).symlink_to(ROOT / name)


def shorten_runs(patch: pytest.MonkeyPatch) -> None:
    """Every Trainer does one batch of at most eight images on the CPU, without workers, of few packaged images."""
    make_trainer, make_data = Trainer.__init__, SSLDataModule.__init__

    def short_trainer(self: Any, *args: Any, **settings: Any) -> None:
        on_cpu = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
        make_trainer(self, *args, **settings | on_cpu | {"fast_dev_run": True, "enable_progress_bar": False})

    def small_data(self: Any, **settings: Any) -> None:
        batch_size = min(8, settings.pop("batch_size", 8))
        make_data(self, **settings | {"batch_size": batch_size, "num_workers": 0, "persistent_workers": None})

    patch.setattr(Trainer, "__init__", short_trainer)
    patch.setattr(SSLDataModule, "__init__", small_data)
    use_few_images(patch, train=50, test=50)
