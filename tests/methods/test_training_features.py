"""A pass over all training images between epochs."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from sslbolts import UsageError
from sslbolts._lightning import Callback, LightningModule
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.distributed import rank
from sslbolts.methods.training_features import number_of_training_images, training_features
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import NoiseViews, noise_loader
from tests.methods.toy import Toy


class _Sweeps(Callback):
    """Sweeps at the start of every epoch, and keeps what it found and what it left behind."""

    def __init__(self, fn: Any = None, **settings: Any) -> None:
        self.fn = fn
        self.settings = settings
        self.found: list[torch.Tensor] = []
        self.modes: list[bool] = []
        self.batches: list[list[int]] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        state = torch.get_rng_state()
        pl_module.extra.eval()
        fn = None if self.fn is None else lambda x: self.fn(x, pl_module)
        self.found.append(training_features(pl_module, fn, **self.settings))
        assert torch.equal(torch.get_rng_state(), state)
        assert trainer.training
        self.modes.append(pl_module.backbone.training and not pl_module.extra.training)

    def on_train_batch_start(self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.indices.tolist())


def _mean_pixels(x: torch.Tensor, module: Any) -> torch.Tensor:
    assert not module.training
    return x.mean((2, 3))


def _toy(backbone: nn.Module | None = None) -> Toy:
    module = Toy(backbone or TinyBackbone(), warmup_epochs=0)
    module.extra = nn.Dropout()
    return module


def test_every_image_of_a_plain_loader_is_seen_once_whatever_its_sampler_does():
    sweeps = _Sweeps(_mean_pixels)
    loader = DataLoader(NoiseViews(30), batch_size=8, shuffle=True, drop_last=True)
    quiet_trainer(max_epochs=2, callbacks=[sweeps]).fit(_toy(), loader)
    for found in sweeps.found:
        torch.testing.assert_close(found, loader.dataset.views[0].mean((2, 3)))
    assert sweeps.modes == [True, True]
    assert len(sweeps.batches) == 6


def test_the_trainers_own_iteration_goes_on_undisturbed():
    def batches(*callbacks: Callback) -> list[list[int]]:
        watcher = _Sweeps()
        watcher.on_train_epoch_start = lambda *_: None
        settings = {"num_workers": 1, "persistent_workers": True, "shuffle": True, "drop_last": True}
        torch.manual_seed(5)
        loader = DataLoader(NoiseViews(30), batch_size=8, **settings)
        quiet_trainer(max_epochs=2, callbacks=[*callbacks, watcher]).fit(_toy(), loader)
        return watcher.batches

    sweeps = _Sweeps(_mean_pixels)
    assert batches(sweeps) == batches()
    assert [len(found) for found in sweeps.found] == [30, 30]


def test_the_number_of_images_is_known_before_training():
    class Counts(Toy):
        def setup(self, stage: str) -> None:
            super().setup(stage)
            self.images = number_of_training_images(self.trainer)

    module = Counts(TinyBackbone(), warmup_epochs=0)
    quiet_trainer(max_steps=1).fit(module, noise_loader(24, 8))
    assert module.images == 24
    data = CIFAR10MiniDataModule(batch_size=64, views="byol", num_workers=0)
    quiet_trainer(max_steps=1, limit_val_batches=0).fit(module, datamodule=data)
    assert module.images == 5000


def test_images_of_a_datamodule_come_under_evaluation_transforms():
    sweeps = _Sweeps(_mean_pixels)
    data = CIFAR10MiniDataModule(batch_size=64, views="byol", num_workers=0)
    quiet_trainer(max_steps=1, callbacks=[sweeps], limit_val_batches=0).fit(_toy(), datamodule=data)
    images = torch.cat([data.on_after_batch_transfer(batch, 0)[0] for batch in data.train_images_dataloader()])
    torch.testing.assert_close(sweeps.found[0], images.mean((2, 3)))
    assert len(images) == data.num_train_images


def test_features_of_the_module_are_the_default_and_do_not_depend_on_the_precision():
    found = []
    for precision in ("32-true", "bf16-mixed"):
        sweeps = _Sweeps()
        torch.manual_seed(0)
        quiet_trainer(max_steps=1, callbacks=[sweeps], precision=precision).fit(_toy(), noise_loader(16, 8))
        assert sweeps.found[0].shape == (16, 16)
        found.append(sweeps.found[0])
    assert torch.equal(*found)


def test_batch_statistics_center_features_and_leave_no_trace():
    class Buffers(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.values = {name: b.clone() for name, b in pl_module.backbone.named_buffers()}

    buffers, fresh = Buffers(), WithBatchNorm()
    expected = {name: b.clone() for name, b in fresh.named_buffers()}

    def before_relu(x: torch.Tensor, module: Any) -> torch.Tensor:
        return module.backbone.layers[:2](x).mean((2, 3))

    sweeps = _Sweeps(before_relu, batch_statistics=True)
    quiet_trainer(max_steps=1, callbacks=[sweeps, buffers]).fit(_toy(fresh), noise_loader(16, 8))
    torch.testing.assert_close(sweeps.found[0][:8].mean(0), torch.zeros(8), atol=1e-6, rtol=0)
    for name, value in expected.items():
        assert torch.equal(buffers.values[name], value)


@pytest.mark.parametrize(("images", "batch", "sizes"), [(33, 16, [11, 11, 11]), (17, 16, [9, 8]), (5, 1, [3, 2])])
def test_no_batch_is_too_small_for_statistics_of_its_own(images, batch, sizes):
    seen: list[int] = []

    def standardized(x: torch.Tensor, module: Any) -> torch.Tensor:
        seen.append(len(x))
        return module.norm(x.mean((2, 3)))

    module, sweeps = _toy(), _Sweeps(standardized, batch_statistics=True)
    module.norm = nn.BatchNorm1d(3)  # of a single row it has no variance
    loader = DataLoader(NoiseViews(images), batch_size=batch)
    quiet_trainer(max_steps=1, callbacks=[sweeps]).fit(module, loader)
    assert seen == sizes
    assert sweeps.found[0].any(1).all()


def test_a_trial_run_looks_at_a_few_images_only():
    sweeps = _Sweeps(_mean_pixels)
    quiet_trainer(fast_dev_run=1, callbacks=[sweeps]).fit(_toy(), noise_loader(30, 8))
    assert sweeps.found[0].any(1).nonzero().flatten().tolist() == list(range(8))


def _sweep_on_ranks(images: int) -> torch.Tensor:
    sweeps = _Sweeps()
    torch.manual_seed(0)
    quiet_trainer(world=2, max_steps=1, callbacks=[sweeps]).fit(_toy(), noise_loader(images, 8, rank=rank(), world=2))
    return sweeps.found[0]


def test_two_ranks_have_all_rows_each(two_ranks):
    for images in (29, 10):  # of the 8 batches of 4, one is not whole; and one of 3, which is repeated
        sweeps = _Sweeps()
        torch.manual_seed(0)
        quiet_trainer(max_steps=1, callbacks=[sweeps]).fit(_toy(), noise_loader(images, 4))
        first, second = two_ranks(_sweep_on_ranks, images)
        assert torch.equal(first, second)
        torch.testing.assert_close(first, sweeps.found[0])


class _Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(NoiseViews(8)[i] for i in range(8))


class _Shifted(NoiseViews):
    def __getitem__(self, index: int) -> ViewBatch:
        return super().__getitem__(index)._replace(indices=torch.tensor(index + 100))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(_Stream(), batch_size=4), "map-style dataset"),
        (DataLoader(_Shifted(8), batch_size=4), "one has index 103"),
    ],
)
def test_what_cannot_be_swept_is_named(loader, message):
    with pytest.raises(UsageError, match=message):
        quiet_trainer(max_steps=1, callbacks=[_Sweeps()]).fit(_toy(), loader)


def test_the_loader_of_a_datamodule_alone_is_not_enough():
    data = DatasetDataModule(
        [(torch.rand(3, 8, 8), 0) for _ in range(8)], batch_size=4, image_size=8, augment_on="worker", num_workers=0
    )
    with pytest.raises(UsageError, match="give the Trainer the DataModule"):
        quiet_trainer(max_steps=1, callbacks=[_Sweeps()]).fit(_toy(), data.train_dataloader())
