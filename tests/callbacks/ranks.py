"""What the two processes of the DDP tests run."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sslbolts.callbacks import CollapseMonitor, KNNMonitor, OnlineLinearProbe, Preflight
from sslbolts.distributed import world_size
from tests.callbacks.host import Host, bank_loader, metrics, train_loader, trainer, val_loader


class Indexed(Dataset):
    """Gives ``(x, y, index)``."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return *self.dataset[index], index


class IndexedHost(Host):
    """Takes batches with a third item."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch[:2], batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return super().validation_step(batch[:2], batch_idx)


def two_devices() -> dict[str, Any]:
    """Trainer settings for as many processes as there are."""
    return {"devices": world_size(), "strategy": "ddp"} if world_size() > 1 else {}


def monitors() -> tuple[OnlineLinearProbe, KNNMonitor]:
    return OnlineLinearProbe(5, "encoder"), KNNMonitor(k=(5, 20), bank=bank_loader())


def evaluate(checkpoint: str, indexed: bool, rows: int = 997) -> dict[str, float]:
    """Validation numbers of a trained host and probe."""
    torch.manual_seed(0)
    loader = val_loader(rows)
    if indexed:
        loader = DataLoader(Indexed(loader.dataset), batch_size=25)
    run = trainer(*monitors(), **two_devices())
    run.validate(IndexedHost() if indexed else Host(), loader, ckpt_path=checkpoint, verbose=False)
    return metrics(run)


def fit(checkpoint: str | None = None) -> dict[str, Any]:
    """Train with everything on."""
    torch.manual_seed(0)
    probe, knn = monitors()
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "val_check_interval": 0.5}
    run = trainer(probe, knn, CollapseMonitor("encoder", every_n_steps=2), Preflight(), **settings, **two_devices())
    host = Host()
    run.fit(host, train_loader(), val_loader())
    if checkpoint:
        run.save_checkpoint(checkpoint)
    assert Path(checkpoint or __file__).exists()
    assert probe._heads is not None
    return {
        "metrics": metrics(run),
        "baselines": knn.baseline_values,
        "host": {name: value.clone() for name, value in host.state_dict().items()},
        "probe": probe._heads.weight.clone(),
        "names": sorted(name for name, _ in host.named_parameters()),
    }
