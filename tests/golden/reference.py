"""Reading the reference values, and what a case is.

``golden.npz`` holds ``<case>/in|out|grad/<name>``; ``golden_index.json`` each case's formula and parameters. Those of
pretext, masked, text and video methods are in two files of their own, ``golden_pretext``. All of them and
``golden_arch.json`` are read from the directory in ``SSLBOLTS_GOLDEN`` where that is set.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Parameters = Mapping[str, Any]
_FILES = ("golden", "golden_pretext")


def golden_directory() -> Path:
    return Path(os.environ.get("SSLBOLTS_GOLDEN") or Path(__file__).parent)


def _present() -> list[str]:
    """The files of the directory: one that somebody gives may have only the first."""
    return [name for name in _FILES if (golden_directory() / f"{name}_index.json").exists()]


@cache
def index() -> dict[str, Any]:
    cases: dict[str, Any] = {}
    for name in _present():
        cases |= json.loads((golden_directory() / f"{name}_index.json").read_text())["cases"]
    return cases


@cache
def architectures() -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((golden_directory() / "golden_arch.json").read_text())
    return counts


@cache
def _arrays() -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name in _present():
        with np.load(golden_directory() / f"{name}.npz") as file:
            arrays |= file
    return arrays


def values(case: str, part: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The ``in``, ``out`` or ``grad`` tensors of a case by name; floating-point ones in ``dtype``."""
    prefix = f"{case}/{part}/"
    tensors = {
        key.removeprefix(prefix): torch.from_numpy(np.array(array))
        for key, array in _arrays().items()
        if key.startswith(prefix)
    }
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def parameters(case: str) -> dict[str, Any]:
    given: dict[str, Any] = index()[case]["params"]
    return given


@dataclass(frozen=True)
class Case:
    """One golden case.

    Attributes:
        call: the library's answer, ``(inputs, parameters) -> outputs`` with the names of the golden outputs.
        covers: the public loss that it tests, if it is one.
        naive: the same loss as a loop over numbers, on nested lists; it must give the golden value too.
        exact: only in float64: Adam divides gradients that are zero in theory by their own size, which is rounding.
        world: how many ranks share the rows of ``x1`` and ``x2``; their losses and gradients are averaged.
    """

    call: Callable[[Tensors, Parameters], dict[str, Tensor]]
    covers: str | None = None
    naive: Callable[[Mapping[str, Any], Parameters], Tensor] | None = None
    exact: bool = False
    world: int = 1
