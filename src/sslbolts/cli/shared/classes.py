"""The class paths of a configuration: each of the type of its parameter, before anything is made or called."""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints, is_typeddict

from jsonargparse import Namespace
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset, Sampler

from sslbolts._lightning import Callback, LightningDataModule, LightningModule, Trainer
from sslbolts.checks import HARMLESS, TRUST, import_class, is_own, is_trusted
from sslbolts.cli.shared.names import CONFIGURATIONS, dotted_names
from sslbolts.errors import UsageError

__all__ = ["annotations", "check_classes"]

_PARTS: tuple[type, ...] = (nn.Module, Optimizer, LRScheduler, Dataset, Sampler, Callback, LightningDataModule)
"""Bases of what a configuration may make for a parameter without a type of its own."""

_OF_STRATEGIES = "torch.distributed.fsdp."
"""Settings that Lightning's strategies take, whose types it names for type checkers alone."""

_CLASSES = (
    *("sslbolts.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "torchmetrics."),
    *("torch.nn.", "torch.optim.", _OF_STRATEGIES),
    *("torch.utils.data.dataset.", "torch.utils.data.sampler.", "torch.utils.data.distributed."),
    *("torchvision.datasets.", "torchvision.models.", "torchvision.ops.", "torchvision.transforms."),
    *("timm.layers.", "timm.loss.", "timm.models.", "timm.optim.", "timm.scheduler."),
    *("timm.data.auto_augment.", "timm.data.random_erasing.", "timm.data.transforms."),
)
"""Modules of installed packages whose classes any configuration may name: none runs what stands in files or words."""

_UNPICKLES = ("torchvision.datasets.lsun.",)
"""Modules of those whose classes do: this one trusts a file ``_cache_...`` of the working directory."""

_FUNCTIONS = (
    *("sslbolts.losses.", "sslbolts.readouts.", "sslbolts.transforms.", "torch.nn."),
    *("torchvision.datasets.folder.", "torchvision.io.", "torchvision.ops.", "torchvision.transforms."),
)
"""Modules of installed packages whose functions any configuration may name: they read images, or compute."""

_PACKAGES = {module.partition(".")[0] for module in _CLASSES}


def check_classes(config: Namespace, words: Sequence[str] = ()) -> None:
    """Refuse a configuration in which something is named that is not of its parameter's type, or might do harm.

    A parser accepts a function where its result is said to be of the type, any class where the parameter has no type,
    and any function for a parameter that is one. Here a class path is a class; where its parameter has no type, one of
    the parts that a run is made of, or of the package that has the parameter; and a function says that it returns what
    its parameter wants, or that is nothing in particular.

    A configuration may be a stranger's, and a class of an installed package may run what stands in the files or words
    that it is given: ``pandas.read_pickle`` as the loader of a dataset, or ``webdataset.WebDataset`` with the address
    ``pipe:``. So a class or function is of a module that is not installed as a package, which is the user's own; or of
    a known module; or on the command line; or of a package in ``SSLBOLTS_TRUST``.

    Args:
        config: parsed, with nothing made yet.
        words: those of the command line.

    Raises:
        UsageError: names the option.

    Example:
        >>> check_classes(Namespace(model=Namespace(class_path="os.system", init_args=Namespace(command="ls"))))
        Traceback (most recent call last):
        sslbolts.errors.UsageError: --model: os.system is no class.
    """
    trusted = _Trusted(words)
    kinds = {"model": LightningModule, "data": LightningDataModule, **annotations(Trainer)}
    for name, value in _named(config):
        file = value.get("__path__") if isinstance(value, Namespace) else None
        if file is not None and not str(file).endswith(CONFIGURATIONS):
            raise UsageError(
                f"--{name}: {file} is a file in this folder, too: give the whole class path, or a file whose name ends "
                f"in {', '.join(CONFIGURATIONS)}."
            )
        _check(name, value, kinds.get(name.rpartition(".")[2], Any), "", trusted)


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


class _Trusted:
    """What may be named, wherever its name came from.

    Args:
        words: those of the command line, where the user has named it.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._named = dotted_names(words)

    def check(self, option: str, path: str, found: Any, owner: str) -> None:
        """Refuse a class or function of an installed package that is none of these.

        Args:
            option: for the error.
            path: its name in the configuration.
            found: the class or function.
            owner: class path of what has the parameter.

        Raises:
            UsageError: says how to trust it.
        """
        name, module = f"{found.__module__}.{found.__qualname__}", f"{found.__module__}."
        known = module.startswith(_CLASSES if isinstance(found, type) else _FUNCTIONS)
        if known and not module.startswith(_UNPICKLES):
            return
        package = _package(found)
        with_its_owner = package == owner.partition(".")[0]  # which was accepted
        if package not in _PACKAGES and (with_its_owner or is_own(package)):
            return
        if {path, name} & self._named or is_trusted(found.__module__):
            return
        raise UsageError(
            f"--{option}: {path} is of an installed package, and might run what stands in the files that it opens: "
            f"where you trust it, name it on the command line yourself, or set {TRUST}={package}; or give one "
            "of a module of yours that calls it."
        )


def _check(option: str, value: Any, kind: Any, owner: str, trusted: _Trusted) -> None:
    """Refuse a value, or what stands in it; ``owner`` is the class path whose parameter it is."""
    if isinstance(value, list | tuple | set):
        for item in value:
            _check(option, item, kind, owner, trusted)
    elif isinstance(value, Mapping | Namespace):
        items = dict(value.items() if isinstance(value, Mapping) else vars(value).items())
        path = items.get("class_path")
        if path is None:  # a mapping, or the arguments of a dataclass
            for name, item in items.items():
                kinds = [found[name] for found in map(annotations, _classes(kind)) if name in found]
                _check(option, item, Union[tuple(kinds)] if kinds else kind, owner, trusted)  # noqa: UP007
            return
        try:
            cls = import_class(str(path))
        except UsageError as error:
            raise UsageError(f"--{option}: {error}") from error
        if not _fits(cls, kind, owner):
            raise UsageError(f"--{option}: {path} is not of the type that is wanted there, {_words(kind)}.")
        trusted.check(option, str(path), cls, owner)
        typed, own = annotations(cls), _defaults(cls)
        arguments = items.get("init_args") or {}
        for name, item in arguments.items() if isinstance(arguments, Mapping) else vars(arguments).items():
            if inspect.isroutine(item) and item is own.get(name):
                continue  # of the class itself, whatever it does not say
            _check(f"{option}.{name}", item, typed.get(name, Any), str(path), trusted)
    elif inspect.isroutine(value):
        name = f"{value.__module__}.{value.__qualname__}"
        if not _returns(value, kind):
            raise UsageError(
                f"--{option}: the function {name} is not known to return {_words(kind)}: say so in its annotation, or "
                "give a class."
            )
        trusted.check(option, name, value, owner)


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
    return untyped and (
        is_own or issubclass(cls, _PARTS) or f"{cls.__module__}.".startswith((*HARMLESS, _OF_STRATEGIES))
    )


def _returns(function: Any, kind: Any) -> bool:
    """True for a function that returns what a parameter wants."""
    classes = tuple(found for part in _parts(kind) if _is_callable(part) for found in _classes(part))
    returned = tuple(_classes(_hints(function).get("return", Any)))
    if classes:
        return any(issubclass(found, classes) for found in returned)
    return not _is_of_python(function)


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
