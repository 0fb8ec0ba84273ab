"""What the two processes of the DDP tests run."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, Sampler, Subset, TensorDataset

from sslbolts._lightning import Callback, lightning_module
from sslbolts.callbacks import (
    ClusterSheet,
    CollapseMonitor,
    EmbeddingPlot,
    KNNMonitor,
    NanGuard,
    NeighborSheet,
    OnlineLinearProbe,
    Preflight,
    Reconstructions,
)
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.distributed import rank, world_size
from sslbolts.errors import DivergedError
from sslbolts.methods import SSLModule
from sslbolts.training.counts import RightCounts
from sslbolts.training.rows import EvaluationRows
from tests.callbacks.host import Host, bank_loader, images, metrics, train_loader, trainer, val_loader
from tests.helpers.nets import TinyBackbone


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


class OneRankDiverges(Host):
    """Its loss is NaN on the last rank alone, from the sixth batch on."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        bad = rank() == world_size() - 1 and batch_idx >= 5
        loss = loss * torch.nan if bad else loss
        self.log("train/loss", loss)
        return loss


def diverge(folder: str, trained: bool) -> tuple[str, int]:
    """What each rank says of a loss that is NaN on one of them, and how far it has come."""
    checkpoints = lightning_module("callbacks").ModelCheckpoint(folder, every_n_train_steps=2) if trained else None
    callbacks = [NanGuard(every_n_steps=2), *([checkpoints] if checkpoints else [])]
    run = trainer(*callbacks, enable_checkpointing=trained, max_epochs=3, **two_devices())
    try:
        run.fit(OneRankDiverges(), train_loader(batch_size=4), val_loader())
    except DivergedError as error:
        return str(error), run.global_step
    return "", run.global_step


class Triples(Dataset):
    """Gives ``(x, y, patient)``, two images of each patient one after the other."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return *self.dataset[index], index // 2


def counted(kind: type[Dataset], rows: int, *, shuffle: bool) -> list[list[int]]:
    """Per batch of this rank, the images that count, by a sampler that deals them in order or shuffled."""
    data = kind(TensorDataset(torch.arange(rows), torch.arange(rows)))
    sampler = DistributedSampler(data, num_replicas=world_size(), rank=rank(), shuffle=shuffle, seed=3)
    loader = DataLoader(data, batch_size=3, sampler=sampler)
    evaluated = EvaluationRows(loader)
    seen = []
    for batch in loader:
        evaluated.add(batch, len(batch[0]))
        seen += batch[0].tolist()
    return [image for image, first in zip(seen, evaluated.first_seen(torch.device("cpu")).tolist()) if first]


class HalfStream(IterableDataset):
    """All images on rank 0, and none on others."""

    def __iter__(self) -> Any:
        yield from images(97, seed=3) if rank() == 0 else ()


class Quiet(Host):
    """Logs nothing of its own, since that would wait for the other rank."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def stream_on_one_rank() -> dict[str, float]:
    torch.manual_seed(0)
    run = trainer(KNNMonitor(k=5, bank=bank_loader()), **two_devices())
    run.validate(Quiet(), DataLoader(HalfStream(), batch_size=25), verbose=False)
    return metrics(run)


class Backwards(Sampler):
    """The last image first."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Any:
        return iter(range(self.rows - 1, -1, -1))


class Drawn(Backwards):
    """Any order, of a generator of its own."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.generator = torch.Generator().manual_seed(5)

    def __iter__(self) -> Any:
        return iter(torch.randperm(self.rows, generator=self.generator).tolist())


def baselines_of_some(order: type[Backwards]) -> dict[str, float]:
    """Baselines on 40 of 97 images, in an order of the loader's own."""
    torch.manual_seed(0)
    data = images(97, seed=3)
    knn = KNNMonitor(k=5, bank=bank_loader())
    run = trainer(knn, max_epochs=1, limit_val_batches=4 // world_size(), num_sanity_val_steps=0, **two_devices())
    run.fit(Host(), train_loader(), DataLoader(data, batch_size=10, sampler=order(97)))
    return knn.baseline_values


def right_on_one_rank() -> dict[str, float]:
    counts = RightCounts()
    if rank() == 0:
        counts.add((torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, -1])), {"top1": torch.tensor([True, False, True])})
    return counts.shares()


class Strided(Sampler):
    """Somebody's own way to deal images out: every so-manieth, the first again where they do not divide."""

    def __init__(self, rows: int) -> None:
        self.rows = [row % rows for row in range(rank(), -(-rows // world_size()) * world_size(), world_size())]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Any:
        return iter(self.rows)


def dealt_by_hand(folder: str, even: bool) -> dict[str, float]:
    """Everything on loaders that the project deals out itself: evenly, or all to the first rank and none to others."""
    torch.manual_seed(0)
    mine = Subset(images(97, seed=3), list(range(rank(), 97, world_size()))) if even else HalfStream()
    queries = DataLoader(mine, batch_size=25)
    knn = KNNMonitor(k=5, bank=DataLoader(images(203, seed=4), batch_size=40, sampler=Strided(203)))
    pictures: list[Callback] = [NeighborSheet(1, 2)]
    if not even:
        pictures += [EmbeddingPlot(projections=["pca"]), ClusterSheet(clusters=2), Reconstructions()]
    settings = {"max_epochs": 1, "limit_train_batches": 1, "num_sanity_val_steps": 0, "use_distributed_sampler": False}
    run = trainer(knn, *pictures, default_root_dir=folder, **settings, **two_devices())
    run.fit(Generative(), train_loader(shuffle=False), queries)
    return metrics(run)


class Generative(Quiet):
    """Without batch norm, whose buffers DDP sends to all ranks with every validation batch, wherever they are."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder[2] = torch.nn.Identity()

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images


def bare_weights(with_monitors: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    host = Host()
    callbacks = [*monitors(), CollapseMonitor("encoder", every_n_steps=2)] if with_monitors else []
    trainer(*callbacks, **two_devices()).fit(host, train_loader(), val_loader())
    return {name: value.clone() for name, value in host.state_dict().items()} | {"rng": torch.get_rng_state()}


class Frozen(Host):
    """Features do not move, so a probe on them is a function of the batches alone."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 12).requires_grad_(False))
        self.classifier = torch.nn.Linear(12, 5)


def probe_on_frozen_features(batch_size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    probe = OnlineLinearProbe(5, "encoder")
    data = train_loader().dataset
    # Lightning's own sampler would shuffle.
    share = DistributedSampler(data, num_replicas=world_size(), rank=rank(), shuffle=False)
    loader = DataLoader(data, batch_size=batch_size, sampler=share)
    trainer(probe, use_distributed_sampler=False, **two_devices()).fit(Frozen(), loader)
    assert probe._heads is not None
    return {"weight": probe._heads.weight.clone(), "mean": probe._heads.mean.clone()}


def small_bank() -> dict[str, float]:
    torch.manual_seed(0)
    knn = KNNMonitor(k=5, bank=bank_loader(30, batch_size=64))
    run = trainer(knn, max_epochs=1, limit_train_batches=0, **two_devices())
    run.validate(Host(), val_loader(), verbose=False)
    return {name: value for name, value in metrics(run).items() if name.startswith(("knn", "ridge"))}


def packaged() -> dict[str, float]:
    """A small network on the packaged images, through sslbolts' own DataModule and base class."""
    torch.manual_seed(0)
    module = SSLModule(TinyBackbone())
    knn = KNNMonitor(max_bank=600)
    run = trainer(knn, limit_val_batches=3, **two_devices())
    data = CIFAR10MiniDataModule(eval_batch_size=100 // world_size(), views="byol", seed=0)
    run.validate(module, datamodule=data, verbose=False)
    return {name: value for name, value in metrics(run).items() if name.startswith(("knn", "ridge"))}


class OnOneRank(Host):
    """Its encoder runs on rank 1 alone, from the second batch on."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if rank() == 0 or batch_idx == 0:
            return sum(parameter.sum() for parameter in self.parameters()) * 0
        return super().training_step(batch, batch_idx) + sum(parameter.sum() for parameter in self.parameters()) * 0


def layer_on_one_rank() -> dict[str, Any]:
    torch.manual_seed(0)
    probe, collapse = OnlineLinearProbe(5, "encoder"), CollapseMonitor("encoder", every_n_steps=4)
    run = trainer(probe, collapse, max_epochs=1, **two_devices())
    run.fit(OnOneRank(), train_loader(), val_loader())
    assert probe._heads is not None
    return {"seen": int(probe._heads.seen), "weight": probe._heads.weight.clone(), "metrics": metrics(run)}
