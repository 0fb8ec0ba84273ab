"""Contexts that leave no trace in a run: random states, modes of modules and the Trainer's stage come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Sampler

from sslbolts._lightning import Trainer, lightning_module
from sslbolts.networks.modes import eval_mode

__all__ = ["isolated", "own_draws", "undisturbed"]


@contextmanager
def isolated() -> Iterator[None]:
    """Random states from a fixed start, the same on every rank; afterwards they are as before."""
    states = lightning_module("utilities.seed").isolate_rng()
    states.__enter__()
    try:
        torch.manual_seed(0)
        yield
    finally:
        states.__exit__(None, None, None)  # an error inside would keep it from bringing them back


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


@contextmanager
def own_draws(loader: Any) -> Iterator[None]:
    """Generators of a loader, its samplers and datasets from a fixed start; afterwards they are as before.

    The training loader may share them.
    """
    generators = _generators(loader, set())
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(0)
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.set_state(state)


def _generators(owner: Any, visited: set[int]) -> list[torch.Generator]:
    found: list[torch.Generator] = []
    for value in getattr(owner, "__dict__", {}).values():
        if id(value) in visited:
            continue
        if isinstance(value, torch.Generator):
            found.append(value)
        elif isinstance(value, Sampler | Dataset):
            visited.add(id(value))
            found += _generators(value, visited)
    return found
