"""A real ``Trainer.fit`` over a recorded run, and what it came to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from sslbolts import SSLModule
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import EMATeacher
from tests.helpers.trainers import quiet_trainer
from tests.trajectories.adapter import Adapter

IMPOSED = {"lr", "momentum", "consistency_weight", "first_memory"}
"""What the driver, or an adapter, can take from the recording where a case names it under ``impose``."""


@dataclass
class Run:
    """Losses before each step, and after each step the state under the official names."""

    losses: list[Tensor] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)


def train(adapter: Adapter) -> Run:
    case = adapter.case
    assert set(case.impose) <= IMPOSED, f"{set(case.impose) - IMPOSED} cannot be imposed"
    run = Run()
    module = adapter.module(_driven(adapter, run))
    with _draws(adapter.draws()):
        quiet_trainer(max_epochs=case.epochs).fit(module, case.loader())
    assert len(run.losses) == len(case.arrays["losses"])
    return run


def _driven(adapter: Adapter, run: Run) -> type[SSLModule]:
    """The adapter's method, which takes what the case imposes and leaves its state behind after every step."""
    case, imposed = adapter.case, adapter.case.impose.keys() - adapter.own

    class Driven(adapter.method):
        def lr_factor(self, step: int, **lengths: int) -> float:
            if "lr" not in imposed:
                return super().lr_factor(step, **lengths)
            return [*case.schedule["lr"], 0.0][step] / case.hyper["lr"]  # it is asked for after the last step too

        def configure_callbacks(self) -> list[Callback]:
            callbacks = super().configure_callbacks()
            for teacher in (c for c in callbacks if isinstance(c, EMATeacher) and "momentum" in imposed):
                teacher.momentum_at = lambda *, step, total: case.schedule["momentum"][step]
            return callbacks

        def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
            adapter.before_step(self, self.global_step)
            return adapter.loss_factor() * super().training_step(batch, batch_idx)

        def on_train_batch_end(self, outputs: Any, *batch: Any) -> None:  # after the callbacks', which move the teacher
            super().on_train_batch_end(outputs, *batch)
            run.losses.append(outputs["loss"].detach().clone())
            run.states.append({name: value.clone() for name, value in adapter.state(self).items()})

    return Driven


@contextmanager
def _draws(recorded: dict[str, list[Tensor]]) -> Iterator[None]:
    """Functions of torch that give what was recorded, one value a call; all are asked for, each in its shape."""
    left = {name: iter(values) for name, values in recorded.items()}

    def drawing(name: str) -> Any:
        def draw(*size: Any, **_: Any) -> Tensor:
            value = next(left[name], None)
            assert value is not None, f"torch.{name}{size} is asked for more often than recorded"
            asked = tuple(size[-1]) if isinstance(size[-1], tuple | list) else size
            assert value.shape == asked, f"torch.{name}{size} where {tuple(value.shape)} were recorded"
            return value

        return draw

    with ExitStack() as patches:
        for name in recorded:
            patches.enter_context(mock.patch.object(torch, name, drawing(name)))
        yield
    for name, values in left.items():
        assert not list(values), f"torch.{name} was not asked for all that was recorded"
