"""Contexts that leave no trace in a run: random states, modes of modules and the Trainer's stage come back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sslbolts._lightning import Trainer, lightning_module
from sslbolts.networks.modes import eval_mode

__all__ = ["isolated", "undisturbed"]


@contextmanager
def isolated() -> Iterator[None]:
    """Random states from a fixed start, the same on every rank; afterwards they are as before."""
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None  # Lightning leaves it out
    states = lightning_module("utilities.seed").isolate_rng()
    states.__enter__()
    try:
        torch.default_generator.manual_seed(0)
        # As torch.manual_seed does, which takes milliseconds where CUDA is there and not in use.
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(0)
        if mps is not None:
            torch.mps.manual_seed(0)
        yield
    finally:
        states.__exit__(None, None, None)  # an error inside would keep it from bringing them back
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextmanager
def undisturbed(trainer: Trainer, module: nn.Module) -> Iterator[None]:
    """The module in eval mode, the Trainer validating; afterwards modes, stage and random states are as before."""
    stage = trainer.state.stage
    try:
        # Nothing that loaders, workers or transforms draw may shift what training draws.
        with isolated(), eval_mode(module):
            trainer.state.stage = lightning_module("trainer.states").RunningStage.VALIDATING
            yield
    finally:
        trainer.state.stage = stage
