"""The parsers of the command: options from a function's signature, and every mistake in one line."""

import inspect
import re
from argparse import ArgumentError
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, Namespace

from sslbolts.cli.shared.explain import explain
from sslbolts.cli.shared.names import expand
from sslbolts.errors import UsageError

__all__ = ["Parser", "PlainTexts", "parse"]


class PlainTexts:
    """For a parser of jsonargparse: a value is never replaced by the content of a file of that name.

    Only an option that takes nothing but a configuration (``--config``, ``--trainer``, ``--model``, ``--data``) may
    be given a file.
    """

    def add_class_arguments(self, *args: Any, **options: Any) -> Any:
        """See ``jsonargparse.ArgumentParser.add_class_arguments``."""
        return super().add_class_arguments(*args, **options | {"sub_configs": False})  # type: ignore[misc]

    def add_function_arguments(self, *args: Any, **options: Any) -> Any:
        """See ``jsonargparse.ArgumentParser.add_function_arguments``."""
        return super().add_function_arguments(*args, **options | {"sub_configs": False})  # type: ignore[misc]


class Parser(PlainTexts, ArgumentParser):
    """The parser of the verbs that train no method; its arguments are those of jsonargparse's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # jsonargparse makes parsers of this class for its own use
        super().__init__(*args, **kwargs | {"exit_on_error": False, "allow_abbrev": False})

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """The values of a command line; see :func:`parse`."""
        return parse(self, expand(arguments), self)

    def add_options(
        self,
        function: Callable[..., Any],
        *,
        skip: Collection[str] = (),
        instead_of: str | None = None,
        tables: Mapping[str, Iterable[str]] | None = None,
    ) -> list[str]:
        """One option for each argument of a function or class, with its type, its default and its documentation.

        An argument that no word can say, such as a module, has no option; nor have the names after ``**``.

        Args:
            function: its docstring explains the arguments.
            skip: arguments without an option.
            instead_of: heading of the options, each of which is None unless it is given.
            tables: the names in each table that the docstring speaks of, which are told in place of the table's.

        Returns:
            the names of the options.

        Example:
            >>> def draw(title: str, sizes: tuple[int, ...] = (1, 2), *, grid: bool = False) -> None:
            ...     '''A picture.
            ...
            ...     Args:
            ...         title: above it.
            ...         sizes: in ``pixels``.
            ...         grid: lines.
            ...     '''
            >>> parser = Parser("draw")
            >>> parser.add_options(draw)
            ['title', 'sizes', 'grid']
            >>> parser.parse(["--title=a", "--sizes", "3", "4"])
            Namespace(title='a', sizes=[3, 4], grid=False)
        """
        documented = {item.arg_name: item.description or "" for item in parse_docstring(function.__doc__ or "").params}
        container = self if instead_of is None else self.add_argument_group(instead_of)
        names = []
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            if name in skip or parameter.kind is parameter.VAR_KEYWORD:
                continue
            optional = instead_of is not None
            required = parameter.default is parameter.empty and not optional
            default = None if required or optional else parameter.default
            option = _option(parameter.annotation, default, optional=optional)
            if option is None:
                continue
            words = _plain(documented[name])
            for table, entries in (tables or {}).items():
                words = words.replace(table, ", ".join(entries))
            container.add_argument(f"--{name}", help=words, **option | ({"required": True} if required else {}))
            names.append(name)
        return names


def parse(
    parser: ArgumentParser,
    arguments: Sequence[str],
    of_the_verb: ArgumentParser,
    *,
    words: Sequence[str] | None = None,
) -> Namespace:
    """The values of a command line.

    Args:
        parser: of the command line.
        arguments: class paths stand in place of short names.
        of_the_verb: the parser whose options are suggested for a wrong one.
        words: those arguments that the user gave; None for all.

    Raises:
        UsageError: one line on what is wrong.
    """
    try:
        config: Namespace = parser.parse_args(list(arguments))
    except ArgumentError as error:
        options = re.findall(r"--[\w.]+", of_the_verb.format_usage())
        raise UsageError(explain(str(error), options)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{_no_text(arguments)} is no text in UTF-8, and so no configuration.") from error
    if any(isinstance(value, Namespace) for value in vars(config).values()):
        from sslbolts.cli.shared.classes import check_classes  # which needs torch

        check_classes(config, arguments if words is None else words)
    return config


def _no_text(arguments: Sequence[str]) -> str:
    """The file among the arguments that a parser could not read."""
    for path in (Path(argument.rpartition("=")[2]) for argument in arguments):
        try:
            if path.is_file():
                path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return f'"{path}"'
        except OSError:
            pass
    return "a file that the configuration names"


def _option(kind: Any, default: Any, *, optional: bool) -> dict[str, Any] | None:
    """The option for a type of value: a list is several words, and False is nothing.

    Other objects, which Python could give, are left out of a union; None if there is nothing else.
    """
    if kind is bool and default is False:
        return {"action": "store_true"}
    kinds = get_args(kind) if get_origin(kind) in (Union, type(int | str)) else (kind,)
    lists = [kind for kind in kinds if get_origin(kind) in (Sequence, tuple)]
    if lists:
        items = get_args(lists[0])
        fixed = get_origin(lists[0]) is tuple and ... not in items
        default = default if default is None else list(default)
        return {"type": items[0], "nargs": len(items) if fixed else "+", "default": default}
    words = [kind for kind in kinds if kind in (int, float, str, bool) or get_origin(kind) is Literal]
    if not words:
        return None
    return {"type": reduce(or_, [*words, None] if optional or default is None else words), "default": default}


def _plain(text: str) -> str:
    """A sentence of a docstring without its markup.

    Example:
        >>> _plain("see :func:`~sslbolts.readouts.rankme`, or ``x``;\\nNone is all")
        'see rankme, or x; None is all'
    """
    return " ".join(re.sub(r":\w+:`~?(?:[\w]+\.)*(\w+)`|``", lambda found: found[1] or "", text).split()).rstrip(".")
