"""Checks of what comes from outside: arguments, names of classes in files, and files.

Those of arguments take them by their names, and pass over those that are None:

>>> positive(temperature=0.1, lr=None)
>>> fraction(momentum=1.5)
Traceback (most recent call last):
sslbolts.errors.UsageError: momentum=1.5: it must be in 0 to 1.
"""

import importlib
import math
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Real
from pathlib import Path
from typing import Any

from sslbolts.errors import UsageError, did_you_mean

__all__ = [
    "HARMLESS",
    "as_plain",
    "at_least",
    "below_one",
    "fraction",
    "import_class",
    "import_named_in_file",
    "is_plain",
    "one_of",
    "positive",
    "read_regular",
    "whole",
]

HARMLESS = ("sslbolts.", "torch.nn.", "torch.optim.", "torchvision.", "timm.")
"""Packages whose classes do no harm, whoever names them."""

# Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


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


def import_class(path: str) -> type:
    """The class of a dotted path.

    Raises:
        UsageError: if there is no such module, or no class of that name in it.

    Example:
        >>> import_class("torch.optim.SGD").__name__
        'SGD'
        >>> import_class("os.system")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: os.system is no class.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"the class {path} cannot be imported: {error}.") from error
    if not isinstance(found, type):
        raise UsageError(f"{path} is no class.")
    return found


def import_named_in_file(path: str, *bases: type) -> type:
    """The class of a dotted name that stands in a file, which may be a stranger's.

    The name is checked before anything is imported: its package is one that cannot do harm when it is imported, or the
    program has imported the module already. What is found must be derived from one of ``bases``.

    Args:
        path: the name.
        bases: classes.

    Raises:
        UsageError: for any other name.

    Example:
        >>> from torch.optim import Optimizer
        >>> import_named_in_file("torch.optim.AdamW", Optimizer).__name__
        'AdamW'
        >>> import_named_in_file("this.X", Optimizer)
        Traceback (most recent call last):
        sslbolts.errors.UsageError: a file names the class this.X, and may name those of sslbolts, torch.nn, ...
    """
    module, _, name = path.rpartition(".")
    if module not in sys.modules and (not path.startswith(HARMLESS) or "__" in path):
        raise UsageError(
            f"a file names the class {path}, and may name those of {', '.join(p.rstrip('.') for p in HARMLESS)}: "
            f"where you trust the file, import {module or name} first, or give that class yourself."
        )
    found = import_class(path)
    if not issubclass(found, bases):
        raise UsageError(f"{path}, which a file names, is no {' or '.join(base.__name__ for base in bases)}.")
    return found


def read_regular(path: str | Path, largest: int = 2**30) -> bytes:
    """The content of a file; never of a pipe that nobody writes to, or of a device without an end.

    What was opened is looked at, not the name, which may lead elsewhere a moment later.

    Args:
        path: of the file; links are followed.
        largest: bytes that it may have.

    Raises:
        OSError: if it cannot be opened, is no regular file, or is larger.

    Example:
        >>> read_regular("/dev/zero")
        Traceback (most recent call last):
        OSError: it is no regular file
    """
    opened = os.open(path, _FLAGS)  # a third of the time that a file object takes, of which an image needs none
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        if found.st_size > largest:
            raise OSError(f"it has {found.st_size:,} bytes, more than the {largest:,} that are read")
        content = os.read(opened, found.st_size)
        while len(content) < found.st_size and (more := os.read(opened, found.st_size - len(content))):
            content += more
        return content
    finally:
        os.close(opened)


def as_plain(value: Any) -> Any:
    """A value in Python's own numbers, words, lists and mappings, in place of numpy's and of derived classes.

    Example:
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


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a word, None, or a list or mapping of them: what every file can hold.

    Example:
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
        _refuse_unless(math.isfinite(value), name, value, "be finite")
        yield name, value


def _refuse_unless(right: bool, name: str, value: Any, rule: str) -> None:
    if not right:
        raise UsageError(f"{name}={value!r}: it must {rule}.")
