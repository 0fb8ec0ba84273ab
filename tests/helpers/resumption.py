"""A run that keeps a checkpoint at every place of an epoch, and what each of its hooks saw."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sslbolts._lightning import Callback, lightning_module
from sslbolts.data import DatasetDataModule
from sslbolts.training.module import TrainingModule
from sslbolts.transforms import MultiView, View
from tests.helpers.trainers import quiet_trainer

_HOOKS = (
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_validation_epoch_start",
    "on_validation_batch_start",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
)

BATCHES = 4
"""Batches of an epoch."""


class Toy(TrainingModule):
    """One layer with dropout, which every epoch's start and every validation change."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, width), nn.Dropout(0.5))
        self.register_buffer("validations", torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = (self.net(batch.views[0]) - self.validations).square().mean()
        self.log("train/loss", loss, batch_size=len(batch.indices))
        return loss

    def on_train_epoch_start(self) -> None:
        with torch.no_grad():
            self.net[1].weight.mul_(0.9)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/mean", self.net(batch[0]).mean(), batch_size=len(batch[0]))

    def on_validation_epoch_end(self) -> None:
        self.validations += 1

    def on_train_epoch_end(self) -> None:
        self.log("epoch/weight", self.net[1].weight.norm())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]  # once per epoch


def toy_images(**settings: Any) -> DatasetDataModule:
    """Forty images, and fifteen in validation."""
    pixels = torch.randint(0, 256, (55, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train, val = (TensorDataset(part, torch.arange(len(part)) % 3) for part in pixels.split([40, 15]))
    views = MultiView((View(8, scale=(0.5, 1.0)),))
    sizes = {
        "batch_size": 40 // BATCHES,
        "eval_batch_size": 8,
        "num_workers": 0,
        "seed": 7,
        "in_memory": True,
    } | settings
    return DatasetDataModule(train, val=val, num_classes=3, image_size=8, views=views, **sizes)


class Diary(Callback):
    """Every hook with the epoch, the optimizer steps and the batch; and the rows that a logger gets."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        for name in _HOOKS:
            setattr(self, name, self._noting(name))

    def _noting(self, name: str) -> Callable[..., None]:
        def note(trainer: Any, pl_module: Any, *rest: Any) -> None:
            number = rest[1:2] if "batch" in name else ()
            known = {} if "batch" in name else {key: float(value) for key, value in trainer.callback_metrics.items()}
            known = {} if name == "on_train_epoch_start" else known
            self.events.append((name, trainer.current_epoch, trainer.global_step, *number, known))

        return note

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["events"] = len(self.events)


class Rows(lightning_module("loggers").Logger):  # type: ignore[misc]
    """Keeps what is logged."""

    name = version = None

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        self.rows.append((step, {name: float(value) for name, value in metrics.items()}))

    def log_hyperparams(self, *_: Any) -> None:
        """Of no interest."""


class Saver(lightning_module("callbacks").Checkpoint):  # type: ignore[misc]
    """Saves where ModelCheckpoint does: after an optimizer step, a validation and an epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step > self.last:
            self.save(trainer, "step")
        self.last = trainer.global_step

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        self.save(trainer, "epoch")

    def save(self, trainer: Any, name: str) -> None:
        _ = trainer.callback_metrics  # as ModelCheckpoint reads them before
        trainer.save_checkpoint(self.folder / f"{name}{trainer.global_step}.ckpt")


@dataclass
class Run:
    """What a run did, and the checkpoint at its end."""

    events: list[tuple[Any, ...]]
    rows: list[tuple[int, dict[str, float]]]
    end: dict[str, Any]


def run(
    folder: Path | None = None,
    ckpt_path: Path | None = None,
    *,
    module: Callable[[], Any] = Toy,
    data: Callable[[], Any] = toy_images,
    callbacks: tuple[Callback, ...] = (),
    **settings: Any,
) -> Run:
    """Two epochs, or what the settings say; with a folder, checkpoints of every step, validation and epoch in it."""
    diary, logger = Diary(), Rows()
    torch.manual_seed(0 if ckpt_path is None else 99)
    limits = {} if "max_steps" in settings else {"max_epochs": 2}
    trainer = quiet_trainer(
        callbacks=[*callbacks, diary, *([] if folder is None else [Saver(folder)])],
        logger=logger,
        log_every_n_steps=1,
        **{"enable_checkpointing": folder is not None, **limits, **settings},
    )
    trainer.fit(module(), datamodule=data(), ckpt_path=ckpt_path)
    end = trainer._checkpoint_connector.dump_checkpoint()
    return Run(diary.events, logger.rows, end)
