"""Every method's step on a GPU that there is not, whose tensors hold no values: devices do not mix, nothing is read."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils.data import DataLoader, TensorDataset

from sslbolts import SSLModule
from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, NanGuard, OnlineLinearProbe
from sslbolts.training.module import TrainingModule
from tests.helpers.pretended_gpu import pretended_gpu
from tests.helpers.trainers import quiet_trainer
from tests.invariants.cases import MethodCase
from tests.invariants.waiting import without_counts_on_the_host


class _Over(Exception):
    """Everything was looked at."""


@contextmanager
def _moved(module: nn.Module, optimizers: Sequence[torch.optim.Optimizer], device: torch.device) -> Iterator[None]:
    """In this context the module is on the device, with its optimizers; afterwards everything is as before."""
    there: dict[int, Tensor] = {}

    def move(tensor: Tensor | None) -> Tensor | None:
        if tensor is not None and id(tensor) not in there:
            copy = tensor.detach().to(device)
            is_parameter = isinstance(tensor, nn.Parameter)
            there[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
        return None if tensor is None else there[id(tensor)]

    with pytest.MonkeyPatch.context() as patch:
        for part in module.modules():
            for kind in ("_parameters", "_buffers"):
                kept = getattr(part, kind)
                patch.setitem(vars(part), kind, {name: move(tensor) for name, tensor in kept.items()})
            if isinstance(part, LightningModule):
                patch.setattr(part, "_device", device)
        for optimizer in optimizers:
            patch.setattr(optimizer, "state", type(optimizer.state)(dict))
            for group in optimizer.param_groups:
                patch.setitem(group, "params", [move(parameter) for parameter in group["params"]])
        yield


class _WithoutValues(Callback):
    """After the first step, and the first batch of validation, goes on where there are no values; then ends the run.

    What is made and kept in them may be read. The backward pass needs a driver: gradients are made up.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self._go_on(trainer, pl_module, batch, None)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 1:
            training = next(iter(trainer.train_dataloader))  # type: ignore[arg-type]
            trainer.training = True
            self._go_on(trainer, pl_module.train(), training, batch)

    def _go_on(self, trainer: Trainer, module: LightningModule, batch: Any, validation: Any) -> None:
        callbacks: list[Callback] = [callback for callback in trainer.callbacks if callback is not self]
        with pretended_gpu() as gpu, _moved(module, trainer.optimizers, gpu):
            _train(trainer, module, callbacks, module.transfer_batch_to_device(batch, gpu, 0))
            if validation is not None:
                trainer.validating = True
                module.eval()
                _validate(trainer, module, callbacks, module.transfer_batch_to_device(validation, gpu, 0))
        raise _Over


def _train(trainer: Trainer, module: Any, callbacks: list[Callback], batch: Any) -> None:
    """What Lightning does with the second batch."""
    for callback in callbacks:  # what they know of the weights is that of the host
        callback.on_train_start(trainer, module)
    with contextlib.suppress(DataDependentOutputException):  # as a run starts, it may read
        module.on_train_start()
    for callback in callbacks:
        callback.on_train_batch_start(trainer, module, batch, 1)
    module.on_train_batch_start(batch, 1)
    loss: Tensor = module.training_step(batch, 1)
    assert loss.device.type == "cuda"
    for callback in callbacks:
        callback.on_before_backward(trainer, module, loss)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    (optimizer,) = trainer.optimizers
    for callback in callbacks:
        callback.on_before_optimizer_step(trainer, module, optimizer)
    module.on_before_optimizer_step(optimizer)
    module.optimizer_step(0, 1, SimpleNamespace(step=lambda *_, **__: optimizer.step()), None)
    for callback in callbacks:
        callback.on_train_batch_end(trainer, module, {"loss": loss.detach()}, batch, 1)
    module.on_train_batch_end({"loss": loss.detach()}, batch, 1)


@torch.no_grad()
def _validate(trainer: Trainer, module: Any, callbacks: list[Callback], batch: Any) -> None:
    """What Lightning does with the second batch of validation."""
    for callback in callbacks:
        callback.on_validation_batch_start(trainer, module, batch, 1)
    outputs = module.validation_step(batch, 1)
    for callback in callbacks:
        callback.on_validation_batch_end(trainer, module, outputs, batch, 1)


class _Unread(OnlineLinearProbe):
    """A probe that does not look at the first labels of a run, which it may."""

    def _check(self, targets: Tensor) -> None:
        pass


def step_runs_without_values(case: MethodCase, module: SSLModule | None = None) -> None:
    """Step, monitors and optimizer on CUDA tensors without values."""
    # Measured steps of CollapseMonitor wait for the device, as it says.
    callbacks: list[Callback] = [NanGuard(every_n_steps=1), CollapseMonitor(every_n_steps=100), _WithoutValues()]
    loaders = [case.loader()]
    if case.learns_from == "images":
        loaders.append(DataLoader(TensorDataset(torch.rand(16, 3, 32, 32), torch.arange(16) % 4), batch_size=8))
        callbacks += [_Unread(num_classes=4), KNNMonitor(k=3, bank=loaders[1], baselines=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "log", lambda *args, **settings: None)  # Lightning's meters are real ones
        trainer = quiet_trainer(max_steps=2, val_check_interval=1, callbacks=callbacks)
        with pytest.raises(_Over):
            trainer.fit(module or without_counts_on_the_host(case), *loaders)
