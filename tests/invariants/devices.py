"""Every method and every monitor on a device that there is not, and that has no float64."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, NanGuard, OnlineLinearProbe
from tests.helpers.pretended_device import pretended_device
from tests.helpers.trainers import quiet_trainer
from tests.invariants.cases import MethodCase

_CPUAccelerator = lightning_module("accelerators").CPUAccelerator
_SingleDeviceStrategy = lightning_module("strategies").SingleDeviceStrategy


class _NoDriver(_CPUAccelerator):  # type: ignore[misc, valid-type]
    """What Lightning asks of an accelerator, where there is no driver to answer."""

    def setup_device(self, device: torch.device) -> None:
        pass


class _Elsewhere(_SingleDeviceStrategy):  # type: ignore[misc, valid-type]
    """One process on a device that there is in a context alone; it begins when the module moves there."""

    def __init__(self, device: str, context: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__(device=device, accelerator=_NoDriver())
        self.context = context
        self.entered = ExitStack()
        self.on_the_host = False

    @property
    def root_device(self) -> torch.device:
        return torch.device("cpu") if self.on_the_host else super().root_device

    def model_to_device(self) -> None:
        self.entered.enter_context(self.context())
        _move(self.model, self.root_device)

    def teardown(self) -> None:
        self.entered.close()


def _move(module: nn.Module, device: torch.device) -> None:
    """As ``module.to(device)``, which does not replace parameters that several modules have."""
    moved: dict[int, Any] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    there = tensor.detach().to(device)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    there = nn.Parameter(there, tensor.requires_grad) if is_parameter else there
                    moved[id(tensor)] = tensor, there
                tensors[name] = moved[id(tensor)][1]
        if hasattr(part, "_device"):
            part._device = device


@contextmanager
def _prepared_on_the_host(strategy: _Elsewhere) -> Iterator[None]:
    """Data is loaded, and what will be logged is prepared, where it always is, whatever a context makes of tensors."""

    def on_the_host(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **settings: Any) -> Any:
            before, strategy.on_the_host = strategy.on_the_host, True
            try:
                with _disable_current_modes():
                    return method(*args, **settings)
            finally:
                strategy.on_the_host = before

        return run

    loops = lightning_module("loops")
    results = lightning_module("trainer.connectors.logger_connector.result")
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (DataLoader, "__iter__"),
            (_BaseDataLoaderIter, "__next__"),
            (results._ResultMetric, "__init__"),
            (loops._FitLoop, "setup_data"),
            (loops._EvaluationLoop, "setup_data"),
        ):
            patch.setattr(owner, name, on_the_host(getattr(owner, name)))
        yield


def _run(strategy: _Elsewhere, module: LightningModule, *loaders: Any, **settings: Any) -> Trainer:
    trainer = quiet_trainer(accelerator="auto", strategy=strategy, **settings)
    with _prepared_on_the_host(strategy), strategy.entered:
        trainer.fit(module, *loaders)
    return trainer


def trains_where_there_is_no_float64(case: MethodCase) -> None:
    """Training with all monitors on a device like Apple's: devices do not mix, and all values are there."""
    images = TensorDataset(torch.rand(20, 3, 32, 32), torch.arange(20) % 4)
    loader = DataLoader(images, batch_size=10)
    monitors: list[Callback] = [CollapseMonitor(every_n_steps=1), NanGuard(every_n_steps=1)]
    expected = {"collapse/std", "collapse/effective_rank", "train/loss"}
    if case.learns_from == "images":
        monitors += [OnlineLinearProbe(num_classes=4), KNNMonitor(k=3, bank=loader, baselines=False)]
        expected |= {"probe/top1", "knn/k3_t0.07", "ridge/top1", "rankme", "class_separation"}
    loaders = (case.loader(), loader) if case.learns_from == "images" else (case.loader(),)
    trainer = _run(
        _Elsewhere("mps", pretended_device), case.module(), *loaders, max_epochs=1, limit_train_batches=2,
        callbacks=monitors,
    )  # fmt: skip
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert expected <= found.keys()
    assert all(0 <= found[name] <= 1 for name in expected if "top1" in name or "knn" in name)
