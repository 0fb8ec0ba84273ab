"""The callback that lets the first convolution begin with whitening filters."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import BYOL, SimCLR
from sslbolts._lightning import Callback
from sslbolts.callbacks import WhitenedStem
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import UsageError
from sslbolts.networks.whitened_filters import patches_for, set_whitening_filters_, whitenable_convolution
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

SMALL = {"backbone": "resnet18", "stem": "cifar", "backbone_kwargs": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}}


class Weights(Callback):
    """The stem's weights when the first batch begins."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.student = whitenable_convolution(pl_module.backbone).weight.detach().clone()


def data() -> CIFAR10MiniDataModule:
    return CIFAR10MiniDataModule(batch_size=16, num_workers=0, views="byol")


def fit(method: Any, *callbacks: Callback, **settings: Any) -> Weights:
    seen = Weights()
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0, callbacks=[*callbacks, seen], **settings)
    trainer.fit(method, datamodule=data())
    return seen


def test_training_starts_from_the_filters_of_the_training_images():
    seen = fit(SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL), WhitenedStem(max_images=100))
    module = data()
    images = torch.cat([module.on_after_batch_transfer(batch, 0)[0] for batch in module.train_images_dataloader()])
    images = images[torch.linspace(0, len(images) - 1, 100).long()]
    expected = whitenable_convolution(SimCLR(**SMALL).backbone)
    set_whitening_filters_(expected, patches_for(expected, images).flatten(0, 1))
    filters = 2 * 27  # both signs of each of the directions of 3 x 3 x 3 pixels; ten more stay random
    torch.testing.assert_close(seen.student[:filters], expected.weight.detach()[:filters], atol=1e-4, rtol=1e-4)


def test_the_teacher_starts_with_the_same_filters():
    method = BYOL(hidden_dim=16, output_dim=8, momentum=1.0, warmup_epochs=0, **SMALL)
    seen = fit(method, WhitenedStem(max_images=50))
    assert torch.equal(whitenable_convolution(method.teacher.backbone).weight, seen.student)


def test_a_resumed_run_keeps_what_it_has_learned(tmp_path):
    method = SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL)
    trainer = quiet_trainer(max_steps=2, limit_val_batches=0, callbacks=[WhitenedStem(max_images=50)])
    trainer.fit(method, datamodule=data())
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    learned = whitenable_convolution(method.backbone).weight.detach().clone()
    fresh, seen = SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL), Weights()
    trainer = quiet_trainer(max_steps=3, limit_val_batches=0, callbacks=[WhitenedStem(max_images=50), seen])
    trainer.fit(fresh, datamodule=data(), ckpt_path=tmp_path / "two.ckpt")
    assert torch.equal(seen.student, learned)


@pytest.mark.parametrize("drop_last", [False, True])
def test_any_loader_of_images_will_do(drop_last):
    images = TensorDataset(torch.rand(23, 3, 8, 8), torch.arange(23))
    method = SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL)
    weight = whitenable_convolution(method.backbone).weight
    before = weight.detach().clone()
    stem = WhitenedStem(lambda: DataLoader(images, batch_size=5, drop_last=drop_last))
    trainer = quiet_trainer(max_steps=1, callbacks=[stem, Weights()])
    trainer.fit(method, noise_loader(16, 8))
    assert not torch.allclose(weight, before, atol=0.1)


def test_wrong_uses_are_named():
    with pytest.raises(UsageError, match="max_images=1"):
        WhitenedStem(max_images=1)
    with pytest.raises(UsageError, match=r'no layer "backbon".* backbone, projector'):
        fit(SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL), WhitenedStem(network="backbon"))
    method = SimCLR(hidden_dim=16, warmup_epochs=0, **SMALL)
    with pytest.raises(UsageError, match="pass images= a loader"):
        quiet_trainer(max_steps=1, callbacks=[WhitenedStem()]).fit(method, noise_loader(16, 8))
