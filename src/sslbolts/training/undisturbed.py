"""Contexts that leave no trace in a run: random states, modes of modules and the Trainer's stage come back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sslbolts._lightning import Trainer, lightning_module

__all__ = ["isolated", "undisturbed"]


@contextmanager
def isolated() -> Iterator[None]:
    """Random states from a fixed start, the same on every rank; afterwards they are as before."""
    with lightning_module("utilities.seed").isolate_rng():
        torch.manual_seed(0)
        yield


@contextmanager
def undisturbed(trainer: Trainer, module: nn.Module) -> Iterator[None]:
    """The module in eval mode, the Trainer validating; afterwards modes, stage and random states are as before."""
    modes = {child: child.training for child in module.modules()}
    stage = trainer.state.stage
    try:
        # Nothing that loaders, workers or transforms draw may shift what training draws.
        with isolated():
            module.eval()
            trainer.state.stage = lightning_module("trainer.states").RunningStage.VALIDATING
            yield
    finally:
        trainer.state.stage = stage
        for child, mode in modes.items():
            child.training = mode
