"""Random generators of a device that there is not; they are the CPU's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


@contextmanager
def pretended_generators(device: str) -> Iterator[None]:
    """In this context ``torch.Generator(device)`` is to be had, and says that it is there."""
    there, original = torch.device(device), torch.Generator

    class Kind(type(original)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

    class Pretending(original, metaclass=Kind):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> "torch.Generator":  # type: ignore[misc]
            asked = torch.device(device)
            return original.__new__(cls) if asked.type == there.type else original(asked)

        @property
        def device(self) -> torch.device:
            return there

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", Pretending)
        yield
