"""What Barlow Twins adds to its loss."""

from functools import partial

import pytest
import torch

from sslbolts import BarlowTwins, UsageError
from sslbolts._lightning import Callback
from tests.helpers.nets import WithBatchNorm
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader


def _method(**arguments):
    chosen = {"hidden_dim": 16, "output_dim": 8, "lr_scaling": "none", "warmup_epochs": 0, **arguments}
    return BarlowTwins(WithBatchNorm(), **chosen)


class _Groups(Callback):
    def on_train_start(self, trainer, pl_module):
        self.groups = [dict(group) for group in trainer.optimizers[0].param_groups]


def test_biases_and_norms_have_a_learning_rate_of_their_own_and_no_decay():
    watcher = _Groups()
    method = _method(optimizer=partial(torch.optim.SGD, lr=0.2, weight_decay=1e-6))
    quiet_trainer(max_steps=1, callbacks=[watcher]).fit(method, noise_loader(8, 8))
    weights, biases = watcher.groups
    assert weights["initial_lr"] == pytest.approx(0.2)
    assert biases["initial_lr"] == pytest.approx(0.0048)
    assert (weights["weight_decay"], biases["weight_decay"]) == (1e-6, 0)
    assert all(p.dim() > 1 for p in weights["params"])
    assert all(p.dim() == 1 for p in biases["params"])


def test_scale_of_the_loss_scales_loss_and_gradient():
    runs = []
    for scale in (1.0, 0.1):
        torch.manual_seed(0)
        recorder = Recorder()
        quiet_trainer(max_steps=1, callbacks=[recorder]).fit(
            _method(scale_loss=scale).double(), noise_loader(8, 8, dtype=torch.float64)
        )
        runs.append(recorder)
    torch.testing.assert_close(runs[1].losses[0], 0.1 * runs[0].losses[0])
    for name, gradient in runs[0].gradients[0].items():
        torch.testing.assert_close(runs[1].gradients[0][name], 0.1 * gradient)


def test_diagonal_and_off_diagonal_of_the_correlation_are_logged():
    method, loader, trainer = _method(), noise_loader(8, 8), quiet_trainer(max_steps=1)
    views = next(iter(loader)).views
    z1, z2 = (method.projector.train()(method.backbone.train()(x)).detach() for x in views)
    trainer.fit(method, loader)
    correlation = torch.corrcoef(torch.cat([z1, z2], 1).T)[:8, 8:]
    others = correlation[~torch.eye(8, dtype=torch.bool)]
    assert trainer.callback_metrics["train/diagonal"].item() == pytest.approx(
        correlation.diag().mean().item(), abs=0.01
    )
    assert trainer.callback_metrics["train/off_diagonal"].item() == pytest.approx(others.abs().mean().item(), abs=0.01)


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="lambd=-1"):
        _method(lambd=-1)
    with pytest.raises(UsageError, match="output_dim=1"):
        _method(output_dim=1)
    with pytest.raises(UsageError, match="scale_loss=0"):
        _method(scale_loss=0)
    with pytest.raises(UsageError, match="bias_lr_scale=-1"):
        _method(bias_lr_scale=-1)
