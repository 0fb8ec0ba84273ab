"""The progress bar shows a training step's values late, and nothing else changes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sslbolts._lightning import Callback
from sslbolts.training.module import TrainingModule
from tests.helpers.trainers import quiet_trainer


class Counting(TrainingModule):
    """Logs 1, 2, 3, ... as its loss."""

    def __init__(self, name: str, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.zeros(()))
        self.name = name

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = (self.weight * 0 + batch_idx + 1).view(self.shape)
        self.log(self.name, loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/error", torch.tensor(7.0), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Bar(Callback):
    """The values that a bar would show after each batch, and what else is known then."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.known: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.shown.append(dict(trainer.progress_bar_metrics))
        self.known.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.mark.parametrize(
    ("name", "on_the_bar", "shape"),
    [("train/loss", "loss", ()), ("loss", "loss_step", ()), ("train/loss", "loss", (1,))],
)
def test_the_bar_is_one_step_late_and_the_log_is_not(name, on_the_bar, shape):
    bar = Bar()
    data = DataLoader(TensorDataset(torch.zeros(4, 1)))
    trainer = quiet_trainer(max_epochs=1, callbacks=[bar])
    trainer.fit(Counting(name, shape), data, data)
    assert [shown.get(on_the_bar) for shown in bar.shown] == [None, 1.0, 2.0, 3.0]
    assert [known[name] for known in bar.known] == [1.0, 2.0, 3.0, 4.0]
    assert trainer.progress_bar_metrics["val/error"] == 7.0
