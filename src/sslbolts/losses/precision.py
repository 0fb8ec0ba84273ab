"""Losses leave autocast: exponentials, norms and covariances of half-precision numbers overflow or lose digits."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

__all__ = ["full_precision"]

P = ParamSpec("P")


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss so that its half-precision arguments become float32 and autocast is off inside.

    Example:
        >>> @full_precision
        ... def total(x):
        ...     return x.exp().sum()
        >>> total(torch.full((2,), 20.0, dtype=torch.float16)).dtype
        torch.float32
    """

    @wraps(loss)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = tensors[0].device.type if tensors else "cpu"
        with torch.autocast(device, enabled=False):
            return loss(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()})

    return wrapped
