"""Classes by the names that users and files give them."""

import importlib
import sys

from sslbolts.errors import UsageError

__all__ = ["HARMLESS", "import_class", "import_named_in_file"]

HARMLESS = ("sslbolts.", "torch.nn.", "torch.optim.", "torchvision.", "timm.")
"""Packages whose classes do no harm, whoever names them."""


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
