"""Classes by the names that users and files give them."""

import importlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path

from sslbolts.errors import UsageError

__all__ = [
    "HARMLESS",
    "TRUST",
    "import_class",
    "import_named_in_file",
    "is_named",
    "is_own",
    "is_trusted",
    "naming",
]

HARMLESS = ("sslbolts.", "torch.nn.", "torch.optim.", "torchvision.", "timm.")
"""Packages whose modules and optimizers do no harm, whoever names them.

Of torch it is not all: ``torch.hub``, ``torch.utils.cpp_extension``, ``torch.distributed`` and ``torch.fx`` fetch,
build, call or compile what they are told.
"""


TRUST = "SSLBOLTS_TRUST"
"""Variable of the environment: further packages whose classes and functions a configuration may name, by commas."""


def is_trusted(name: str) -> bool:
    """True for a dotted name in a package that the user has named in ``SSLBOLTS_TRUST``."""
    packages = {package.strip() for package in os.environ.get(TRUST, "").split(",")} - {""}
    return f"{name}.".startswith(tuple(f"{package}." for package in packages))


def is_own(name: str) -> bool:
    """True for a dotted name in the user's own files: in no package of the environment, and in none of Python's.

    Nothing is imported.

    Example:
        >>> [is_own(name) for name in ("torch.nn.Linear", "subprocess.Popen", "nowhere.Network")]
        [False, False, False]
    """
    package = name.partition(".")[0]
    if package == "__main__":
        return True
    try:
        spec = None if package in sys.stdlib_module_names else find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [place for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    folders.append(site.getusersitepackages())
    return bool(places) and not any(Path(place).is_relative_to(folder) for place in places for folder in folders)


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


_given: ContextVar[frozenset[str]] = ContextVar("_given", default=frozenset())


@contextmanager
def naming(paths: Iterable[str]) -> Iterator[None]:
    """Within it, files may name these classes, too, since the user has given their names.

    Args:
        paths: dotted names; nothing is imported before a file names it.

    Example:
        >>> with naming(["argparse.Namespace"]):
        ...     import_named_in_file("argparse.Namespace", object).__name__
        'Namespace'
    """
    token = _given.set(_given.get() | frozenset(paths))
    try:
        yield
    finally:
        _given.reset(token)


def is_named(path: str) -> bool:
    """Whether a file may name a class, which need not be there: see :func:`import_named_in_file`."""
    return path in _of_user() or (path.startswith(HARMLESS) and "__" not in path)


def import_named_in_file(path: str, *bases: type) -> type:
    """The class of a dotted name that stands in a file, which may be a stranger's.

    The name is checked before anything is imported. It is one of a few packages, all of whose modules and optimizers
    can be made of numbers and words without harm, or of a class that the user has named: with
    ``torch.serialization.add_safe_globals``, or within :func:`naming`. That the program has imported a module already
    says nothing. What is found must be derived from one of ``bases``, and be of these packages itself: none that they
    only import from another.

    Args:
        path: the name.
        bases: classes.

    Raises:
        UsageError: for any other name; says how the user can allow it.

    Example:
        >>> from torch.optim import Optimizer
        >>> import_named_in_file("torch.optim.AdamW", Optimizer).__name__
        'AdamW'
        >>> import_named_in_file("this.X", Optimizer)
        Traceback (most recent call last):
        sslbolts.errors.UsageError: a file names the class this.X, and may name those of sslbolts, torch.nn, ...
    """
    if not is_named(path):
        name = path.rpartition(".")[2]
        raise UsageError(
            f"a file names the class {path}, and may name those of {', '.join(p.rstrip('.') for p in HARMLESS)}: where "
            "you trust that class, give it yourself (on the command line as --model or --model.ARGUMENT), or name it, "
            f"torch.serialization.add_safe_globals([{name}])."
        )
    named = _of_user()
    found = named.get(path) or import_class(path)
    if not issubclass(found, bases) or (path not in named and not f"{found.__module__}.".startswith(HARMLESS)):
        raise UsageError(f"{path}, which a file names, is no {' or '.join(base.__name__ for base in bases)}.")
    return found


def _of_user() -> dict[str, type | None]:
    """The names that files may have for classes that the user has named, and the classes where they are known."""
    import torch  # which needs time, and is there where a file was read

    named: dict[str, type | None] = dict.fromkeys(_given.get())
    for entry in torch.serialization.get_safe_globals():
        found, path = entry if isinstance(entry, tuple) else (entry, None)
        if isinstance(found, type):
            named[path or f"{found.__module__}.{found.__qualname__}"] = found
    return named
