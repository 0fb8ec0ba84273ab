"""What is drawn: images, features, labels, and numbers of all kinds, wrong ones among them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from sslbolts.errors import UsageError

seeds = st.integers(0, 2**32 - 1)
image_types = st.sampled_from([torch.uint8, torch.float32, torch.float64, torch.float16, torch.bfloat16])
float_types = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])
wild = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 1, 10**400, True, None, "1", math.nan, math.inf, 1e-50, 1e38]),
    st.integers(-(2**70), 2**70),
)
"""Anything that somebody may give where a number is asked for."""
mostly_right = st.one_of(st.floats(0.0, 1.0), st.floats(0.5, 2.0), st.integers(0, 9), wild)
"""The same, with more of what a recipe may have."""


def images(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
    """Images of noise with black and white among them; floats are in [0, 1]."""
    drawn = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, shape, generator=drawn, dtype=torch.uint8)
    levels[: len(levels) // 3] = 255 * (seed % 2)
    return levels if dtype == torch.uint8 else (levels.double() / 255).to(dtype)


def rows(seed: int, *shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    """Normal numbers."""
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


def labels(seed: int, count: int, classes: int, *, unlabeled: bool = True) -> Tensor:
    """Labels of ``count`` images, some of them -1."""
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(-1 if unlabeled else 0, classes, (count,), generator=drawn)


def made_or_refused(make: Callable[..., Any], given: dict[str, Any]) -> Any:
    """What is made of arguments; None if they are refused, by a message that names one of them."""
    try:
        return make(**given)
    except UsageError as error:
        message = str(error)
        assert any(name in message for name in given), f"the message names none of {sorted(given)}: {message}"
        return None
