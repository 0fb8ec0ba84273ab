"""jsonargparse's messages, which follow its attempts to understand a value, as one line on what is wrong."""

import re
import sys
from collections.abc import Iterable
from typing import TypeVar

from sslbolts.errors import did_you_mean, no_such_argument
from sslbolts.methods.registry import METHODS

__all__ = ["cause_of", "explain"]

Error = TypeVar("Error", bound=BaseException)


def cause_of(error: BaseException | None, kind: type[Error]) -> Error | None:
    """The first exception of a kind among one and those that it was raised from; None if there is none.

    Example:
        >>> cause_of(ValueError("no number"), KeyError) is None
        True
    """
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


def explain(message: str, options: Iterable[str] = ()) -> str:
    """One line for a message of many: the setting, and what its innermost lines say.

    Args:
        message: jsonargparse's, or argparse's.
        options: of the parser.

    Example:
        >>> explain('''Parser key "model":
        ...   Does not validate against any of the Union subtypes
        ...   Errors:
        ...     - Problem with given class_path 'sslbolts.SimCLR':
        ...         Parser key "temperature":
        ...           Expected a <class 'float'>. Got value: warm
        ...     - Expected a <class 'NoneType'>
        ...   Given value: NestedArg(key='temperature', val='warm')''')
        'model.temperature: expected a number, got "warm".'
        >>> explain('''Parser key "model":
        ...   Errors:
        ...     - int too large to convert to float
        ...     - Expected a <class 'NoneType'>
        ...   Given value: NestedArg(key='temperature', val='1')''')
        'model.temperature: int too large to convert to float'
    """
    if found := re.search(r"unrecognized arguments: ([^\s=]+)", message):
        return f'there is no option "{found[1]}".{did_you_mean(found[1], options)} Add --help for a list.'
    if found := re.search(r"class_path '([\w.]+)':\s+Option '(?:[\w.]+\.)?(\w+)' is not accepted", message):
        return _not_accepted(*found.groups())
    if found := re.search(r"Option '([\w.]+)' is not accepted|does not accept option '([\w.]+)'", message):
        key, known = found[1] or found[2], [option.lstrip("-") for option in options]
        return f'the configuration has an unknown key "{key}".{did_you_mean(key, known)}'
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    if len(keys) == 1:  # an error of Python's own: the value says whose it is
        keys += re.findall(r"NestedArg\(key='([\w.]+)'", message)
    where = ".".join(dict.fromkeys(keys))
    if found := _NO_CLASS.search(message):
        name = found[1] or found[2] or found[3]
        return f"{where}: there is no class {name}.{did_you_mean(name.rpartition('.')[2], _neighbors(where, name))}"
    return _innermost(where, message)


_NO_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)"
    r"|class_path '([\w.]+)':\s+(?:No module named|module '[\w.]+' has no)"
    r"|: module '[\w.]+' has no attribute '\w+'\. Got value: ([\w.]+)"
)
_FRAME = ("Parser key ", "Does not validate against any", "Subtypes:", "Errors:", "Given value", "Problem with given ")
"""Beginnings of the lines that stand around others."""

_KINDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "dict": "a mapping",
    "Sequence": "a list",
}


def _not_accepted(class_path: str, name: str) -> str:
    if class_path.endswith(".LightningModule"):  # nobody has said which
        return f"--model.{name}: it is not known yet of which model: --model or --config must stand before it."
    module, _, cls = class_path.rpartition(".")
    return no_such_argument(getattr(sys.modules[module], cls), name)  # jsonargparse has imported it


def _neighbors(where: str, name: str) -> list[str]:
    """Names that could stand where an unknown class stood."""
    module = name.rpartition(".")[0]
    if module:
        return dir(sys.modules[module]) if module in sys.modules else []
    if where == "model":
        return list(METHODS)
    import sslbolts.callbacks
    from sslbolts._lightning import lightning_module

    return [*sslbolts.callbacks.__all__, *lightning_module("callbacks").__all__, *lightning_module("loggers").__all__]


def _innermost(where: str, message: str) -> str:
    """The lines that stand deepest, of which the others are the frame, and the value that they are about."""
    lines = [line for line in message.splitlines() if line.strip(" -") and not line.strip(" -").startswith(_FRAME)]
    depth = max((_indentation(line) for line in lines), default=0)
    said = list(dict.fromkeys(line.strip(" -") for line in lines if _indentation(line) == depth))
    said = [line for line in said if line != "Expected a <class 'NoneType'>"] or said
    expected = [line for line in said if re.match(r"Expected an? (<class '(?!NoneType)|typing)", line)]
    given = re.search(r"(?:Got|Given) value: (.+)", message[message.index(said[0]) :]) if said else None
    if not expected or given is None:
        return f"{where}: {'; '.join(said)}" if where and said else " ".join(message.split())
    words = " ".join(expected)
    options = re.findall(r"'([^']*)'", " ".join(re.findall(r"Literal\[(.*?)\]", words)))
    kinds = [_KINDS.get(kind, f"a {kind}") for kind in re.findall(r"<class '(?:\w+\.)*(\w+)'>", words)]
    wanted = f"one of {', '.join(options)}" if options else " or ".join(kinds)
    return f'{where}: expected {wanted}, got "{given[1].strip()}".{did_you_mean(given[1], options)}'


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
