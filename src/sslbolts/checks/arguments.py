"""Checks of arguments, which take them by their names and pass over those that are None.

>>> positive(temperature=0.1, lr=None)
>>> fraction(momentum=1.5)
Traceback (most recent call last):
sslbolts.errors.UsageError: momentum=1.5: it must be in 0 to 1.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Real
from typing import Any

from sslbolts.errors import UsageError, did_you_mean

__all__ = [
    "as_plain",
    "at_least",
    "below_one",
    "fraction",
    "is_number",
    "is_plain",
    "one_of",
    "positive",
    "whole",
]


def positive(**numbers: float | None) -> None:
    """Refuse a number that is not above 0.

    Raises:
        UsageError: names the argument, its value and the bound; so do all checks here.
    """
    for name, value in _given(numbers):
        _refuse_unless(value > 0, name, value, "be positive")


def at_least(least: float, /, **numbers: float | None) -> None:
    """Refuse a number below ``least``.

    Example:
        >>> at_least(0, warmup_epochs=-1)
        Traceback (most recent call last):
        sslbolts.errors.UsageError: warmup_epochs=-1: it must be at least 0.
    """
    for name, value in _given(numbers):
        _refuse_unless(value >= least, name, value, f"be at least {least:g}")


def whole(least: int = 1, /, **numbers: int | None) -> None:
    """Refuse what is no whole number from ``least`` on: a width, a length, a number of crops.

    Example:
        >>> whole(hidden_dim=0.5)
        Traceback (most recent call last):
        sslbolts.errors.UsageError: hidden_dim=0.5: it must be a whole number of at least 1.
    """
    for name, value in _given(numbers):
        _refuse_unless(value == int(value) >= least, name, value, f"be a whole number of at least {least}")


def fraction(**numbers: float | None) -> None:
    """Refuse a number outside 0 to 1; both ends are allowed."""
    for name, value in _given(numbers):
        _refuse_unless(0 <= value <= 1, name, value, "be in 0 to 1")


def below_one(**numbers: float | None) -> None:
    """Refuse a number outside 0 to 1, and 1 itself: a momentum with which nothing would ever move."""
    for name, value in _given(numbers):
        _refuse_unless(0 <= value < 1, name, value, "be at least 0 and below 1")


def one_of(allowed: Iterable[str], /, **words: str | None) -> None:
    """Refuse a word that is not ``allowed``, and suggest the nearest.

    Example:
        >>> one_of(("linear", "sqrt", "none"), lr_scaling="linaer")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: lr_scaling="linaer": it must be one of linear, sqrt, none. Did you mean "linear"?
    """
    options = [str(option) for option in allowed]
    for name, value in words.items():
        if value is not None and value not in options:
            hint = did_you_mean(str(value), options)
            raise UsageError(f'{name}="{value}": it must be one of {", ".join(options)}.{hint}')


def as_plain(value: Any) -> Any:
    """A value in Python's own numbers, words, lists and mappings, in place of numpy's and of derived classes.

    Example:
        >>> import math
        >>> import numpy as np
        >>> as_plain({"lr": np.float64(0.5), "widths": [np.int64(8)], "norm": math.sqrt})
        {'lr': 0.5, 'widths': [8], 'norm': <built-in function sqrt>}
    """
    if isinstance(value, Enum) and isinstance(value, str | int | float):
        return value.value
    if isinstance(value, Mapping):
        return {as_plain(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(as_plain, value))
    for kind in (str, bool, float, int):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, neither NaN nor infinite; True and False are none.

    Example:
        >>> [is_number(value) for value in (2, 0.5, "2", None, True, float("nan"), 10**400)]
        [True, True, False, False, False, False, False]
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and bool(-sys.float_info.max <= value <= sys.float_info.max)


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a word, None, or a list or mapping of them: what every file can hold.

    Example:
        >>> import math
        >>> is_plain({"betas": (0.9, 0.95)}), is_plain({"norm": math.sqrt})
        (True, False)
    """
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _given(numbers: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in numbers.items():
        if value is None:
            continue
        _refuse_unless(isinstance(value, Real) and not isinstance(value, bool), name, value, "be a number")
        _refuse_unless(is_number(value), name, value, "be finite")
        yield name, value


def _refuse_unless(right: bool, name: str, value: Any, rule: str) -> None:
    if not right:
        raise UsageError(f"{name}={value!r}: it must {rule}.")
