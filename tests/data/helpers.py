"""Folders of images, and a module that remembers what it was given."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.data import ImageFolderDataModule


def pixels(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    """Smooth random pixels, which JPEG keeps well."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    bands = [Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BILINEAR) for c in range(channels)]
    return np.stack([np.asarray(band) for band in bands], -1)


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (40, 48), mode: str = "RGB", **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    array = pixels(*size, seed, channels)
    Image.fromarray(array[..., 0] if channels == 1 else array, mode=None if mode != "CMYK" else "CMYK").save(
        path, **save
    )
    return path


def write_folder(root: Path, per_class: int = 6, classes: tuple[str, ...] = ("cat", "dog"), **image: Any) -> Path:
    """``root/<class>/<n>.png``"""
    for label, name in enumerate(classes):
        for number in range(per_class):
            write_image(root / name / f"{number}.png", seed=100 * label + number, **image)
    return root


def digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


class Recorder(LightningModule):
    """Trains a tiny network and writes down every training batch that it saw."""

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Conv2d(in_chans, 4, 3, stride=2)
        self.seen: list[tuple[int, int, list[int], list[str]]] = []
        self.batches: list[Any] = []
        self.validated: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        views = [digest(view.float()) for view in batch.views]
        self.seen.append((self.current_epoch, batch_idx, batch.indices.tolist(), views))
        self.batches.append(batch)
        return sum(self.net(view).square().mean() for view in batch.views)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(batch)
        self.net(batch[0])

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        _ = self.trainer.estimated_stepping_batches  # makes Lightning set the training loader up early
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def quiet_trainer(**settings: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**(defaults | settings))


def small(root: Any, **settings: Any) -> ImageFolderDataModule:
    """A folder of images in batches of 4, read one by one in this process."""
    arguments = {"batch_size": 4, "image_size": 32, "num_workers": 0, "seed": 0, "in_memory": False}
    return ImageFolderDataModule(str(root) if not isinstance(root, list) else root, **(arguments | settings))


def epoch(data: Any) -> list[Any]:
    """The batches of an epoch of training."""
    loader = data.train_dataloader()
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def broken_folder(root: Path, good: int = 20, bad: int = 2) -> Path:
    """Image files, of which some are cut off."""
    for number in range(good):
        write_image(root / f"good{number:02}.jpg", seed=number)
    for number in range(bad):
        (root / f"bad{number}.jpg").write_bytes((root / "good00.jpg").read_bytes()[:300])
    return root
