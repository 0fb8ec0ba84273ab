"""A project whose images show several classes, in one process and in two."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from sslbolts.callbacks import KNNMonitor, OnlineLinearProbe
from sslbolts.distributed import rank, world_size
from tests.callbacks.host import Host, metrics, trainer


class SeveralHost(Host):
    """The same network, trained by binary cross-entropy."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.binary_cross_entropy_with_logits(self.classifier(self(x)), y.clamp(min=0).float())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        return None


def images(rows: int, seed: int, dtype: torch.dtype = torch.int64) -> TensorDataset:
    """Sums of noisy patterns; rows of five classes, of which the last is nobody's, and one image without a label."""
    drawn = torch.Generator().manual_seed(seed)
    patterns = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    shown = torch.rand(rows, 5, generator=drawn) > 0.6
    shown[:, 4] = False
    x = torch.einsum("nc,cdhw->ndhw", shown.float(), patterns) + 2.5 * torch.randn(rows, 3, 4, 4, generator=drawn)
    y = shown.to(dtype)
    if dtype != torch.bool:
        y[2] = -1
    return TensorDataset(x, y)


def monitors(**settings: Any) -> tuple[OnlineLinearProbe, KNNMonitor]:
    bank = DataLoader(images(101, seed=4), batch_size=20)
    declared = {"multi_label": True} | settings
    return OnlineLinearProbe(5, "encoder", **declared), KNNMonitor(k=(5, 20), bank=bank, **declared)


def fit(rows: int = 47, dtype: torch.dtype = torch.int64) -> dict[str, float]:
    """What is logged in validation of a short training; of frozen weights, so that ranks change nothing."""
    torch.manual_seed(0)
    two = {"devices": world_size(), "strategy": "ddp"} if world_size() > 1 else {}
    host = SeveralHost().requires_grad_(False)
    host.encoder.eval()
    host.classifier.requires_grad_(True)
    host.encoder.train = lambda mode=True: host.encoder  # type: ignore[method-assign]
    run = trainer(*monitors(), max_epochs=2, num_sanity_val_steps=0, use_distributed_sampler=False, **two)

    def loader(data: TensorDataset, batch_size: int) -> DataLoader:
        # In order, which Lightning's own sampler would not keep, and padded to equal numbers.
        share = DistributedSampler(data, num_replicas=world_size(), rank=rank(), shuffle=False)
        return DataLoader(data, batch_size=batch_size, sampler=share)

    train = loader(images(64, seed=2, dtype=dtype), 16 // world_size())
    run.fit(host, train, loader(images(rows, seed=3, dtype=dtype), 10))
    return metrics(run)
