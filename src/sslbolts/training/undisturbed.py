"""Contexts that leave no trace in a run: random states, modes, the Trainer's stage and the environment come back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sslbolts._lightning import Trainer, lightning_module, seed_everything
from sslbolts.networks.modes import eval_mode

__all__ = ["environment_kept", "isolated", "seeded", "undisturbed"]

_OF_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # what seed_everything leaves in the environment


@contextmanager
def environment_kept(*names: str) -> Iterator[None]:
    """Some variables of the environment, which may change in it; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
def seeded(seed: int) -> Iterator[None]:
    """Random states, and seeds of what is made meanwhile, from a seed; afterwards both are as before.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(7):
        ...     drawn = torch.rand(2)
        >>> torch.equal(torch.get_rng_state(), before), torch.equal(drawn, torch.rand(2))
        (True, False)
    """
    with isolated(), environment_kept(*_OF_SEEDS):
        seed_everything(seed, verbose=False)
        yield


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
