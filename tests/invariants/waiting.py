"""Nothing in a step of any method makes the host wait for the device."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Sampler

from sslbolts import SSLModule
from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks import NanGuard
from sslbolts.training.module import TrainingModule
from tests.helpers.trainers import quiet_trainer
from tests.invariants.cases import MethodCase


class _NoWaiting(TorchDispatchMode):
    """Fails on operations whose result, or its shape, the host must read from the device; and on new host tensors,
    which would have to be sent there."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "unique_", "bincount", "lift_fresh")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        assert not name.startswith(self.READS), f"the training step waits for the device in {name}"
        if name == "index":
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "indexing by a mask waits for the device"
        return func(*args, **(kwargs or {}))


class _NoCopies(TorchFunctionMode):
    """Fails on methods that bring a tensor to the host; on a CPU they would go unnoticed."""

    NAMES = ("cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in self.NAMES, f"the training step brings a tensor to the host with {name}()"
        return func(*args, **(kwargs or {}))


class _Watched(Callback):
    """Puts modes around everything that the Trainer does with the second batch, until it fetches the third.

    The first step may wait, for what is made in it and kept.
    """

    def __init__(self, *modes: Callable[[], AbstractContextManager[Any]]) -> None:
        self.modes = modes
        self.entered: ExitStack | None = None
        self.steps = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.leave()
        if batch_idx == 1:
            self.entered = ExitStack()
            for mode in self.modes:
                self.entered.enter_context(mode())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.leave()

    def leave(self) -> None:
        if self.entered is not None:
            self.entered.close()
            self.entered = None
            self.steps += 1


class _LeavesFirst(Sampler[list[int]]):
    """Rows of the next batch; before they are looked up, the modes are left."""

    def __init__(self, sampler: Any, leave: Callable[[], None]) -> None:
        self.sampler, self.leave = sampler, leave

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.sampler:
            self.leave()
            yield rows


def without_counts_on_the_host(case: MethodCase) -> SSLModule:
    """The module, with SGD in place of Adam and AdamW, which count their steps on the host."""
    module = case.module()
    if isinstance(module.optimizer([nn.Parameter(torch.zeros(1))]), torch.optim.Adam | torch.optim.AdamW):
        return case.module(optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9))
    return module


def _train_watched(case: MethodCase, watch: _Watched, **settings: Any) -> None:
    module = without_counts_on_the_host(case)
    module.lr_scheduler_step = lambda *args: None  # type: ignore[method-assign]  # host numbers
    loader = case.loader()
    watched = DataLoader(loader.dataset, batch_sampler=_LeavesFirst(loader.batch_sampler, watch.leave))
    try:
        quiet_trainer(max_steps=3, callbacks=[watch, NanGuard(every_n_steps=2)], **settings).fit(module, watched)
    finally:
        watch.leave()
    assert watch.steps == 1


def step_never_waits_for_the_device(case: MethodCase) -> None:
    """From the start of a batch to the next: the step, the optimizer, memories, the teacher, logging."""
    watch = _Watched(_NoCopies, _NoWaiting)
    # On a CPU the late copy for the progress bar cannot be told from the value that it stands for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "_show", lambda *args: None)
        _train_watched(case, watch)


def step_never_waits_for_the_gpu(case: MethodCase) -> None:
    """The same on a GPU, where CUDA itself raises."""

    @contextmanager
    def raising() -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    _train_watched(case, _Watched(raising), accelerator="gpu")
