"""Losses leave autocast: exponentials, norms and covariances of half-precision numbers overflow or lose digits."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["full_precision"]

P = ParamSpec("P")
R = TypeVar("R")  # a loss, or its terms


def _widen(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def full_precision(loss: Callable[P, R]) -> Callable[P, R]:
    """Decorate a loss so that its arguments become float32, or float64 if one of them is, and autocast is off inside.

    Example:
        >>> @full_precision
        ... def total(x):
        ...     return x.exp().sum()
        >>> total(torch.full((2,), 20.0, dtype=torch.float16)).dtype
        torch.float32
    """

    @wraps(loss)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = tensors[0].device.type if tensors else "cpu"
        double = any(value.dtype == torch.float64 and value.dim() for value in tensors)
        dtype = torch.float64 if double else torch.float32
        with torch.autocast(device, enabled=False):
            widened = {name: _widen(value, dtype) for name, value in kwargs.items()}
            return loss(*(_widen(value, dtype) for value in args), **widened)

    return wrapped
