"""The class paths of a configuration: each of the type of its parameter, before anything is made or called."""

import contextlib
import inspect
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints, is_typeddict

from jsonargparse import Namespace
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset, Sampler

from sslbolts._lightning import Callback, LightningDataModule, LightningModule, Trainer
from sslbolts.checks import HARMLESS, import_class
from sslbolts.cli.shared.names import CONFIGURATIONS
from sslbolts.errors import UsageError

__all__ = ["annotations", "check_classes"]

_PARTS: tuple[type, ...] = (nn.Module, Optimizer, LRScheduler, Dataset, Sampler, Callback, LightningDataModule)
"""Bases of what a configuration may make for a parameter without a type of its own."""

_DANGERS = {
    "torchvision.datasets.lsun.": "unpickles the file _cache_... of the working directory, and so runs what anybody "
    "may have put there: write its images into a folder, and give ImageFolder.",
    "torch.utils.data.datapipes.": "may unpickle what stands in the files that it reads: give a Dataset of a module of "
    "yours.",
    "webdataset.": "starts the programs that stand in its addresses (pipe:), and may unpickle what it reads: make the "
    "stream in a class of a module of yours.",
}
"""Classes of a parameter's type that run what stands in files or words, by the beginnings of their modules."""


def check_classes(config: Namespace) -> None:
    """Refuse a configuration in which something is named that is not of its parameter's type.

    A parser accepts a function where its result is said to be of the type, any class where the parameter has no type,
    and any function for a parameter that is one. Here a class path is a class; where its parameter has no type, one of
    the parts that a run is made of, or of the package that has the parameter; and a function says that it returns what
    its parameter wants, or, where that is nothing in particular, is no function of some installed package.

    Args:
        config: parsed, with nothing made yet.

    Raises:
        UsageError: names the option.

    Example:
        >>> check_classes(Namespace(model=Namespace(class_path="os.system", init_args=Namespace(command="ls"))))
        Traceback (most recent call last):
        sslbolts.errors.UsageError: --model: os.system is no class.
    """
    kinds = {"model": LightningModule, "data": LightningDataModule, **annotations(Trainer)}
    for name, value in _named(config):
        file = value.get("__path__") if isinstance(value, Namespace) else None
        if file is not None and not str(file).endswith(CONFIGURATIONS):
            raise UsageError(
                f"--{name}: {file} is a file in this folder, too: give the whole class path, or a file whose name ends "
                f"in {', '.join(CONFIGURATIONS)}."
            )
        _check(name, value, kinds.get(name.rpartition(".")[2], Any), "")


def annotations(cls: type) -> dict[str, Any]:
    """Types of the arguments of a class and its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        for name, kind in _hints(vars(base).get("__init__")).items():
            found |= _hints(get_args(kind)[0]) if get_origin(kind) is Unpack else {name: kind}
    return found


def _defaults(cls: type) -> dict[str, Any]:
    """Defaults of the arguments of a class and its bases."""
    inits = [vars(base)["__init__"] for base in reversed(cls.__mro__[:-1]) if "__init__" in vars(base)]
    found = [argument for init in inits if inspect.isfunction(init) for argument in _arguments(init)]
    return {argument.name: argument.default for argument in found if argument.default is not argument.empty}


def _arguments(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
    return inspect.signature(function).parameters.values()


def _named(config: Namespace) -> Iterator[tuple[str, Any]]:
    """Options and values of a verb; those of the Trainer one by one."""
    for name, value in vars(config).items():
        if isinstance(value, Namespace) and "class_path" not in value:
            yield from ((f"{name}.{inner}", item) for inner, item in vars(value).items())
        else:
            yield name, value


def _check(option: str, value: Any, kind: Any, owner: str) -> None:
    """Refuse a value, or what stands in it; ``owner`` is the class path whose parameter it is."""
    if isinstance(value, list | tuple | set):
        for item in value:
            _check(option, item, kind, owner)
    elif isinstance(value, Mapping | Namespace):
        items = dict(value.items() if isinstance(value, Mapping) else vars(value).items())
        path = items.get("class_path")
        if path is None:  # a mapping, or the arguments of a dataclass
            for name, item in items.items():
                kinds = [found[name] for found in map(annotations, _classes(kind)) if name in found]
                _check(option, item, Union[tuple(kinds)] if kinds else kind, owner)  # noqa: UP007
            return
        try:
            cls = import_class(str(path))
        except UsageError as error:
            raise UsageError(f"--{option}: {error}") from error
        if danger := next((words for place, words in _DANGERS.items() if f"{cls.__module__}.".startswith(place)), None):
            raise UsageError(f"--{option}: {path} {danger}")
        if not _fits(cls, kind, owner):
            raise UsageError(f"--{option}: {path} is not of the type that is wanted there, {_words(kind)}.")
        typed, own = annotations(cls), _defaults(cls)
        arguments = items.get("init_args") or {}
        for name, item in arguments.items() if isinstance(arguments, Mapping) else vars(arguments).items():
            if inspect.isroutine(item) and item is own.get(name):
                continue  # of the class itself, whatever it does not say
            _check(f"{option}.{name}", item, typed.get(name, Any), str(path))
    elif inspect.isroutine(value) and not _returns(value, kind):
        name = f"{value.__module__}.{value.__qualname__}"
        raise UsageError(
            f"--{option}: the function {name} is not known to return {_words(kind)}: say so in its annotation, or give "
            "a class."
        )
    elif inspect.isroutine(value) and not _is_known(value, kind, owner):
        raise UsageError(
            f"--{option}: {value.__module__}.{value.__qualname__} is a function of an installed package, and might run "
            "what stands in the files that it opens: give a function of a module of yours, which calls it."
        )


def _fits(cls: type, kind: Any, owner: str) -> bool:
    """True for a class of a parameter's type; ``owner`` has the parameter."""
    parts = list(_parts(kind))
    if issubclass(cls, tuple(_classes(kind))):
        return True
    if _is_of_python(cls):
        return False
    if any(_is_callable(part) for part in parts) and "__call__" in dir(cls) and _returns(cls.__call__, kind):
        return True
    untyped = any(part in (Any, object) or getattr(part, "_is_protocol", False) for part in parts)
    is_own = _package(cls) == owner.partition(".")[0] != "torch"
    return untyped and (is_own or issubclass(cls, _PARTS) or f"{cls.__module__}.".startswith(HARMLESS))


def _returns(function: Any, kind: Any) -> bool:
    """True for a function that returns what a parameter wants."""
    classes = tuple(found for part in _parts(kind) if _is_callable(part) for found in _classes(part))
    returned = tuple(_classes(_hints(function).get("return", Any)))
    if classes:
        return any(issubclass(found, classes) for found in returned)
    return not _is_of_python(function)


def _is_known(function: Any, kind: Any, owner: str) -> bool:
    """True for a function that is wanted for its result, or is of a package that opens nothing, or of no installed one.

    ``pandas.read_pickle`` as the loader of a dataset would run what a stranger's folder of images holds.
    """
    wanted = any(list(_classes(part)) for part in _parts(kind) if _is_callable(part))
    if wanted or f"{function.__module__}.".startswith(HARMLESS) or _package(function) == owner.partition(".")[0]:
        return True
    path = getattr(sys.modules.get(_package(function)), "__file__", None)
    return path is None or not any(Path(path).is_relative_to(folder) for folder in _site_folders())


def _site_folders() -> list[str]:
    return [
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        *site.getsitepackages(),
        site.getusersitepackages(),
    ]


def _parts(kind: Any) -> Iterator[Any]:
    """A type, and those that it is a union or a collection of."""
    yield kind
    origin = get_origin(kind)
    if origin not in (Callable, Literal, type):  # what a callable takes is no value
        for part in get_args(kind):
            yield from _parts(part)


def _classes(kind: Any) -> Iterator[type]:
    """The classes in a type of which a value may be, or that a value may make."""
    for part in _parts(kind):
        if _is_callable(part):
            yield from _classes(get_args(part)[-1] if get_args(part) else Any)
        found = get_origin(part) or part
        named = isinstance(found, type) and found.__module__ not in ("builtins", "collections.abc", "typing", "types")
        if named and not is_typeddict(found) and not getattr(found, "_is_protocol", False):
            yield found


def _is_callable(kind: Any) -> bool:
    return Callable in (kind, get_origin(kind))


def _words(kind: Any) -> str:
    names = dict.fromkeys(found.__name__ for found in _classes(kind) if found is not NoneType)
    return " or ".join(names) or "a part of a network or of a run; give its parameter a type"


def _is_of_python(found: Any) -> bool:
    return _package(found) in sys.stdlib_module_names


def _package(found: Any) -> str:
    return str(found.__module__).partition(".")[0]


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function or class; none where they cannot be read."""
    with contextlib.suppress(Exception):  # names in them may be imported for type checkers alone
        return get_type_hints(function)
    return {}
