"""Tests. Importing them makes cheap what every short fit repeats, in the processes that tests start too."""

import functools
import importlib.metadata

import torch

# Every Trainer asks all installed packages for callbacks: a fifth of the time of a short fit.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)

# Seeds for devices that nobody has used yet are kept with a traceback each, in every step.
for _backend in (torch.cuda, torch.xpu, torch.mtia):
    if not _backend.is_available():
        _backend.manual_seed_all = lambda seed: None
