"""Tests. Importing them makes cheap what every short fit repeats, in the processes that tests start too."""

import functools
import importlib.metadata
import os

# One thread for each process, set before any library reads it: several wait for each other, twenty times as long as
# the small problems of tests take.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.utils.data import _utils

# Every Trainer asks all installed packages for callbacks: a fifth of the time of a short fit.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)

# Seeds for devices that nobody has used yet are kept with a traceback each, in every step.
for _backend in (torch.cuda, torch.xpu, torch.mtia):
    if not _backend.is_available():
        _backend.manual_seed_all = lambda seed: None

# Without a GPU, its driver is looked for on the disk whenever somebody asks for one.
if not torch.cuda.is_available():
    torch.cuda.is_available, torch.cuda.device_count = lambda: False, lambda: 0

# A loader whose worker failed waits for it, twice five seconds, when its traceback is forgotten: in some later test.
_utils.MP_STATUS_CHECK_INTERVAL = 0.2  # type: ignore[misc]
