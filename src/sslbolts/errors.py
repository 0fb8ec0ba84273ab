"""The exceptions that the command line prints as one line, and the nearest right name for a wrong one."""

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Unpack, get_args, get_origin

__all__ = ["DivergedError", "UsageError", "argument_names", "did_you_mean", "first_line", "no_such_argument"]


class UsageError(ValueError):
    """What was asked for cannot work; the message says what was given, what is allowed and what to do.

    The command line prints it as one line, without a traceback.
    """


class DivergedError(UsageError):
    """The loss or the weights of a training are NaN or infinite; to go on would only spoil what it has saved.

    Args:
        message: step, terms, and what to try.
        checkpoint: the last good one; None if none was written.
    """

    def __init__(self, message: str, checkpoint: str | None = None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its class where it has none.

    Example:
        >>> first_line(RuntimeError("no such network\\nmuch more")), first_line(AssertionError())
        ('no such network', 'AssertionError')
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The end of an error message that suggests the nearest of ``options``, or nothing if none is near.

    Args:
        name: what was given.
        options: what would have been right.

    Example:
        >>> did_you_mean("SimCRL", ["SimCLR", "BYOL"])
        ' Did you mean "SimCLR"?'
        >>> did_you_mean("xyz", ["SimCLR", "BYOL"])
        ''
    """
    by_lower = {option.lower(): option for option in options}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f' Did you mean "{by_lower[near[0]]}"?' if near else ""


def argument_names(cls: type) -> list[str]:
    """Names of the arguments that a class can be made with, those that it passes on to its bases included.

    Example:
        >>> class Sheet:
        ...     def __init__(self, columns: int = 4, **more): ...
        >>> class Table(Sheet):
        ...     def __init__(self, title: str, **more): ...
        >>> argument_names(Table)
        ['title', 'columns']
    """
    names: list[str] = []
    for constructor in [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]:
        parameters = inspect.signature(constructor).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        rest = next((p.annotation for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if get_origin(rest) is Unpack:  # it passes on the keys of a TypedDict, and nothing else
            names += get_args(rest)[0].__annotations__
            break
        if rest is None:
            break
    return list(dict.fromkeys(name for name in names if name != "self"))


def no_such_argument(cls: type, name: str, *_: str) -> str:
    """The message for an argument that the constructors of a class and its bases do not take.

    Args:
        cls: the class.
        name: the argument that was given.

    Example:
        >>> class Sheet:
        ...     def __init__(self, columns: int = 4, rows: int = 3): ...
        >>> no_such_argument(Sheet, "colums")
        'Sheet has no argument "colums". Did you mean "columns"?'
        >>> no_such_argument(Sheet, "paper")
        'Sheet has no argument "paper". It takes columns, rows.'
    """
    names = argument_names(cls)
    hint = did_you_mean(name, names) or (f" It takes {', '.join(names)}." if names else " It takes none.")
    return f'{cls.__name__} has no argument "{name}".{hint}'
