"""A CUDA device that there is not: its tensors know their shape and device, and hold no values to read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.helpers.pretended_generators import pretended_generators


class _Event:
    """A CUDA event that nobody waits for."""

    def record(self) -> None:
        pass


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """In this context "cuda" is there; whatever mixes devices, or would read a value, raises.

    What the library keeps from call to call (tables of constants) is forgotten at the end, since it holds nothing
    either.
    """
    counts = {kept: kept.cache_info().misses for kept in _kept()}
    with pytest.MonkeyPatch.context() as patch, pretended_generators("cuda"):
        patch.setattr(torch.cuda, "Event", _Event)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                yield torch.device("cuda:0")
        finally:
            for kept in _kept():
                if kept.cache_info().misses != counts.get(kept, 0):
                    kept.cache_clear()


def _kept() -> set[Any]:
    """All functions of the library that keep results."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("sslbolts.")]
    return {member for module in modules for member in vars(module).values() if hasattr(member, "cache_info")}
