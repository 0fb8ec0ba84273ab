"""A project that knows nothing of sslbolts: plain supervised training, as others write it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslbolts._lightning import LightningModule, Trainer


class Host(LightningModule):
    """Ten lines of supervised learning, with dropout and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3))
        self.classifier = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.classifier(self(x)), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.classifier(self(x)), y), sync_dist=True)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class AdversarialHost(LightningModule):
    """Two optimizers under manual optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Linear(8, 48)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU())
        self.judge = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, _ = batch
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(x), 8))
        first.zero_grad()
        self.manual_backward(-self.judge(self(fake)).mean())
        first.step()
        second.zero_grad()
        self.manual_backward((self.judge(self(fake.detach())) - self.judge(self(x))).mean())
        second.step()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        judge = [*self.encoder.parameters(), *self.judge.parameters()]
        return torch.optim.SGD(self.generator.parameters(), lr=0.01), torch.optim.SGD(judge, lr=0.01)


def images(rows: int, seed: int) -> TensorDataset:
    """Five classes of noisy 4 x 4 patterns."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(0, 5, (rows,), generator=generator)
    return TensorDataset(patterns[targets] + 2.5 * torch.randn(rows, 3, 4, 4, generator=generator), targets)


def train_loader(**settings: Any) -> DataLoader:
    return DataLoader(images(160, seed=2), **({"batch_size": 16, "shuffle": True} | settings))


def val_loader(rows: int = 97, **settings: Any) -> DataLoader:
    return DataLoader(images(rows, seed=3), **({"batch_size": 25} | settings))


def bank_loader(rows: int = 203, **settings: Any) -> DataLoader:
    return DataLoader(images(rows, seed=4), **({"batch_size": 40} | settings))


def trainer(*callbacks: Any, **settings: Any) -> Trainer:
    """A quiet Trainer on the CPU."""
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 2,
        "use_distributed_sampler": True,
    }
    return Trainer(callbacks=list(callbacks), **(quiet | settings))


def metrics(of: Trainer) -> dict[str, float]:
    """What was logged, as floats."""
    return {name: float(value) for name, value in of.callback_metrics.items()}
