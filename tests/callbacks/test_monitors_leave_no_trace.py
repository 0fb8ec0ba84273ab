"""Monitors on or off: the same weights, bit for bit; and every stage, twice."""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from sslbolts._lightning import Callback
from sslbolts.callbacks import (
    AugmentationSheet,
    ClusterSheet,
    CollapseMonitor,
    EmbeddingPlot,
    KNNMonitor,
    NanGuard,
    NeighborSheet,
    OnlineLinearProbe,
    Preflight,
)
from tests.callbacks.host import AdversarialHost, Host, bank_loader, metrics, train_loader, trainer, val_loader

PICTURES = TemporaryDirectory()  # of all tests here


def measuring() -> list[Callback]:
    """Those that draw nothing."""
    return [
        OnlineLinearProbe(5, "encoder"),
        KNNMonitor(k=(5, 20), bank=lambda: bank_loader(shuffle=True)),
        CollapseMonitor("encoder", every_n_steps=3),
        Preflight(),
        NanGuard(every_n_steps=1),
    ]


def monitors() -> list[Callback]:
    return [
        *measuring(),
        NeighborSheet(k=1, queries=2, folder=PICTURES.name),
        EmbeddingPlot(projections=["pca"], folder=PICTURES.name),
        ClusterSheet(clusters=1, folder=PICTURES.name),
        AugmentationSheet(images=2, folder=PICTURES.name),
    ]


def trained(*callbacks: Callback, host: type = Host, train: Any = None, **settings: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    module = host()
    run = trainer(*callbacks, **settings)
    run.fit(module, train or train_loader(), val_loader())
    optimizer = run.optimizers[0].state_dict()["state"]
    momentum = {
        f"momentum{i}": s["momentum_buffer"] for i, s in optimizer.items() if s.get("momentum_buffer") is not None
    }
    return (
        {name: value.clone() for name, value in module.state_dict().items()} | momentum | {"rng": torch.get_rng_state()}
    )


@pytest.mark.parametrize(
    ("kinds", "settings"),
    [
        (monitors, {}),
        (measuring, {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1, "val_check_interval": 0.5}),
        (measuring, {"precision": "bf16-mixed", "num_sanity_val_steps": 0}),
        (monitors, {"precision": "bf16-true"}),
    ],
    ids=["plain", "accumulation and clipping", "bf16-mixed", "bf16-true"],
)
def test_weights_momentum_and_random_state_are_bitwise_those_without_monitors(kinds, settings):
    without, with_monitors = trained(**settings), trained(*kinds(), **settings)
    assert without.keys() == with_monitors.keys()
    for name, value in without.items():
        assert torch.equal(value, with_monitors[name]), name


def test_features_that_draw_shift_nothing_that_training_draws():
    def noisy(module: Any, batch: Any, outputs: Any) -> Tensor:
        return module.encoder(batch[0]) + torch.randn(len(batch[0]), 32)

    without, with_probe = trained(max_epochs=1), trained(OnlineLinearProbe(5, noisy), max_epochs=1)
    for name, value in without.items():
        assert torch.equal(value, with_probe[name]), name


def test_a_host_with_two_optimizers_under_manual_optimization():
    run_monitors = measuring()
    without, with_monitors = trained(host=AdversarialHost), trained(*run_monitors, host=AdversarialHost)
    for name, value in without.items():
        assert torch.equal(value, with_monitors[name]), name
    assert run_monitors[0].accuracies


def test_the_host_has_no_further_parameters_hooks_or_modules():
    host, run = Host(), trainer(*monitors(), max_epochs=1)
    before = [name for name, _ in host.named_modules()]
    run.fit(host, train_loader(), val_loader())
    assert [name for name, _ in host.named_modules()] == before
    assert len(run.optimizers[0].param_groups[0]["params"]) == len(list(Host().parameters()))
    assert not any(module._forward_hooks for module in host.modules())


def test_modes_of_submodules_survive_the_baselines():
    host = Host()
    host.encoder[2].eval()  # a frozen batch norm stays in eval mode
    host.encoder[2].train(False)
    modes = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            modes.append((pl_module.encoder[2].training, pl_module.encoder[4].training, trainer.training))

    trainer(*measuring(), Look(), max_epochs=1, limit_train_batches=2).fit(host, train_loader(), val_loader())
    assert modes == [(False, True, True)] * 2


def test_fit_validate_test_and_fit_again():
    callbacks = monitors()
    host, run = Host(), trainer(*callbacks, max_epochs=3)
    run.fit(host, train_loader(), val_loader())
    first = metrics(run)
    assert {"probe/top1", "probe/train_top1", "knn/k5_t0.07", "knn/k20_t0.07", "ridge/top1", "rankme"} <= first.keys()
    assert {"collapse/std", "collapse/effective_rank", "class_separation"} <= first.keys()
    validated = run.validate(host, val_loader(), verbose=False)[0]
    tested = run.test(host, val_loader(), verbose=False)[0]
    for name in ("probe/top1", "knn/k5_t0.07", "knn/k20_t0.07", "ridge/top1", "rankme"):
        assert validated[name] == first[name] == tested[f"test/{name}"], name
    run.fit_loop.max_epochs = 5
    run.fit(host, train_loader(), val_loader())
    assert run.current_epoch == 5
    assert metrics(run)["knn/k5_t0.07/untrained"] == first["knn/k5_t0.07/untrained"]


@pytest.mark.parametrize(("workers", "kinds"), [(0, monitors), (1, measuring)])
def test_every_batch_is_trained_with_validation_inside_the_epoch(workers, kinds):
    seen = []

    class Count(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

    settings = {"num_workers": workers, "persistent_workers": workers > 0}
    run = trainer(*kinds(), Count(), max_epochs=1, val_check_interval=0.25)
    run.fit(Host(), train_loader(**settings), val_loader(**settings))
    assert seen == list(range(10))


def test_the_other_name_of_lightning_for_callbacks_and_the_command():
    script = (
        "import lightning.pytorch as pl\n"
        "from tests.callbacks.test_monitors_leave_no_trace import *\n"
        "sheet = NeighborSheet(k=1, queries=2, folder=PICTURES.name)\n"
        "host, run = Host(), trainer(*measuring(), sheet, max_epochs=1, limit_train_batches=4)\n"
        "assert isinstance(run, pl.Trainer) and isinstance(host, pl.LightningModule)\n"
        "run.fit(host, train_loader(), val_loader())\n"
        "run.validate(host, val_loader(), verbose=False)\n"
        "run.test(host, val_loader(), verbose=False)\n"
        "print(sorted(metrics(run)))\n"
        "from sslbolts.cli import main\n"
        "main(['fit', '--model=BYOL', '--print_config'])\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'test/knn/k20_t0.07'" in done.stdout
    assert "class_path: sslbolts.BYOL" in done.stdout


def test_compiled_submodules_are_read():
    host = Host()
    host.encoder.compile(backend="eager")
    callbacks = measuring()
    trainer(*callbacks, max_epochs=1).fit(host, train_loader(), val_loader())
    assert callbacks[0].accuracies


def drawn_bank() -> DataLoader:
    data = bank_loader().dataset
    return DataLoader(Subset(data, torch.randperm(len(data))[:100].tolist()), batch_size=40)


def test_a_bank_that_is_drawn_shifts_nothing_that_training_draws():
    without, with_monitor = trained(), trained(KNNMonitor(k=5, bank=drawn_bank))
    for name, value in without.items():
        assert torch.equal(value, with_monitor[name]), name


class OtherLoader(DataLoader):
    """A class of its own is not rebuilt, but walked through."""


class Drawn(Dataset):
    """Images with noise from a generator that another dataset may share."""

    def __init__(self, dataset: Dataset, generator: torch.Generator) -> None:
        self.dataset, self.generator = dataset, generator

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        x, y = self.dataset[index]
        return x + torch.randn(x.shape, generator=self.generator), y


class Restless(Dataset):
    """Noise of a numpy generator, more of it the more was read."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.generator, self.read = dataset, np.random.default_rng(0), 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        x, y = self.dataset[index]
        return x + self.read / 1000 * self.generator.normal(), y


def test_a_bank_over_the_training_images_reads_them_for_itself():
    results = []
    for on in (False, True):
        data = ConcatDataset([Restless(train_loader().dataset)])
        monitors = [KNNMonitor(k=5, bank=DataLoader(data, batch_size=40))] * on
        results.append(trained(*monitors, train=DataLoader(data, batch_size=80), max_epochs=2))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


@pytest.mark.parametrize("kind", [DataLoader, OtherLoader], ids=["rebuilt", "walked through"])
def test_a_bank_may_share_its_generator_with_the_training_loader(kind):
    results = []
    for on in (False, True):
        generator = torch.Generator().manual_seed(7)
        train = train_loader(generator=generator)
        bank = kind(Drawn(bank_loader().dataset, generator), batch_size=40, shuffle=True, generator=generator)
        results.append(trained(*[KNNMonitor(k=5, bank=bank, max_bank=150)] * on, train=train))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name
