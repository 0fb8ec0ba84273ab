"""jsonargparse's messages, which follow its attempts to understand a value, as one line on what is wrong."""

import importlib
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from sslbolts.errors import did_you_mean, no_such_argument

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


def explain(message: str) -> str:
    """One line for a message of many.

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
    """
    for pattern, phrase in _PHRASES:
        found = pattern.search(message)
        if found:
            line = phrase(found, message)
            if line is not None:
                return " ".join(line.split())
    return " ".join(message.split())


def _unrecognized(found: re.Match[str], message: str) -> str:
    option = found.group(1).split()[0].partition("=")[0]
    if option.startswith("--trainer."):
        return _no_trainer_argument(option.removeprefix("--trainer."))
    return f'there is no option "{option}".{did_you_mean(option, _OPTIONS)} Add --help for a list.'


def _not_accepted(found: re.Match[str], message: str) -> str | None:
    name = found.group(1).split(".")[-1]
    before = message[: found.start()]
    classes = re.findall(r"Problem with given class_path '([\w.]+)'", before)
    if classes and classes[-1].endswith(".LightningModule"):  # nobody has said which
        return f"--model.{name}: it is not known yet of which model: --model or --config must stand before it."
    if classes:
        cls = _find(classes[-1])
        return no_such_argument(cls, name) if cls else f'{classes[-1]} has no argument "{name}".'
    return _unknown_setting(found, message)


def _unknown_setting(found: re.Match[str], message: str) -> str:
    key = found.group(1)
    if key.startswith("trainer."):
        return _no_trainer_argument(key.removeprefix("trainer."))
    known = [option.removeprefix("--") for option in _OPTIONS]
    return f'the configuration has an unknown key "{key}".{did_you_mean(key, known)}'


def _no_trainer_argument(name: str) -> str:
    from sslbolts._lightning import Trainer

    return no_such_argument(Trainer, name)


def _not_yaml(found: re.Match[str], message: str) -> str:
    return f"the configuration is not valid YAML, {found.group(1)}: {found.group(2)}."


def _not_a_mapping(found: re.Match[str], message: str) -> str:
    return f'the configuration must be a mapping such as "trainer: ...", not {found.group(1)!r}.'


def _unknown_class(found: re.Match[str], message: str) -> str:
    name = found.group(1)
    return f"{_where(message)}: there is no class {name}.{did_you_mean(name, _short_names(message))}" + (
        "" if "." in name else " A class of your own is given with its module, as in my_module.MyClass."
    )


def _unknown_callable(found: re.Match[str], message: str) -> str:
    module, name = found.groups()
    options = [option for option in dir(importlib.import_module(module)) if not option.startswith("_")]
    return f"{_where(message)}: there is no {module}.{name}.{did_you_mean(name, options)}"


def _no_file(found: re.Match[str], message: str) -> str:
    return f"{_where(message)}: there is no file {found.group(1)}."


def _wrong_value(found: re.Match[str], message: str) -> str | None:
    expected, value = found.group(1).strip(), found.group(2).strip()
    if "NoneType" in expected:
        return None
    return (
        f'{_where(message[: found.start()])}: expected {_kind(expected)}, got "{value}"{_option_hint(expected, value)}'
    )


def _wrong_union(found: re.Match[str], message: str) -> str | None:
    subtypes, value = found.group(1), found.group(2).strip()
    if "Module'" in subtypes or "class_path" in message:
        return None
    return f'{_where(message)}: expected {_kind(subtypes)}, got "{value}"{_option_hint(subtypes, value)}'


def _wrong_value_of_a_class(found: re.Match[str], message: str) -> str | None:
    subtypes, value = found.groups()
    if "class_path" not in message or "Module'" in subtypes:
        return None
    where = _where(message[: found.start()])
    return f'{where}: expected {_kind(subtypes)}, got "{value.strip()}"{_option_hint(subtypes, value)}'


def _missing(found: re.Match[str], message: str) -> str:
    classes = re.findall(r"Problem with given class_path '([\w.]+)'", message[: found.start()])
    owner = classes[-1].rpartition(".")[2] if classes else "it"
    return f'{owner} needs a value for "{found.group(1).split(".")[-1].strip()}".'


_OPTIONS = (
    *("--config", "--model", "--data", "--trainer", "--ckpt_path", "--seed_everything", "--print_config", "--output"),
    *("--views", "--images", "--draws", "--seed"),
    *("--teacher", "--untrained", "--max_images", "--cache", "--device"),
    *("--layer", "--k", "--temperature", "--metric", "--penalty", "--settings", "--lr", "--epochs", "--batch_size"),
    *("--on", "--labels", "--per_class", "--fraction", "--indices", "--classifier", "--hidden_dim"),
)

_PHRASES: list[tuple[re.Pattern[str], Callable[[re.Match[str], str], str | None]]] = [
    (re.compile(r"unrecognized arguments: (.+)"), _unrecognized),
    (re.compile(r"Option '([\w.]+)' is not accepted"), _not_accepted),
    (re.compile(r'Key "([\w.]+)" is required'), _missing),
    (re.compile(r"Option '([\w.]+)' is required"), _missing),
    (re.compile(r"the following arguments are required: ([\w.]+)"), _missing),
    (re.compile(r"does not accept option '([\w.]+)'"), _unknown_setting),
    (re.compile(r"parsing config: .*?(line \d+, column \d+)\s+(.+?)\s+in \"", re.DOTALL), _not_yaml),
    (re.compile(r"Unexpected config: (.+)"), _not_a_mapping),
    (re.compile(r"Expected a dot import path string: (\S+)"), _unknown_class),
    (
        re.compile(r"Problem with given class_path '([\w.]+)':\s+(?:No module named|module '[\w.]+' has no)"),
        _unknown_class,
    ),
    (re.compile(r"module '([\w.]+)' has no attribute '(\w+)'"), _unknown_callable),
    (re.compile(r"File does not exist: '?(.+?)'?$", re.MULTILINE), _no_file),
    (re.compile(r"Expected a (.+?)\. Got value: (.+)"), _wrong_value),
    (
        re.compile(
            r"Subtypes: ([^\n]+)\n\s+Errors:\n(?:\s+- Expected[^\n]+\n)+"
            r"\s+Given value type: [^\n]+\n\s+Given value: (.*)"
        ),
        _wrong_value_of_a_class,
    ),
    (re.compile(r"Subtypes: (.+?)\n.*Given value: (.+)", re.DOTALL), _wrong_union),
]


def _where(message: str) -> str:
    """The dotted name of the setting that a message is about."""
    keys: Iterable[str] = re.findall(r'Parser key "([\w.]+)"', message)
    return ".".join(dict.fromkeys(keys)) or "the configuration"


def _kind(expected: str) -> str:
    options = re.findall(r"'([^']*)'", " ".join(re.findall(r"Literal\[(.*?)\]", expected)))
    if options:
        return f"one of {', '.join(dict.fromkeys(options))}"
    names = re.findall(r"<class '(?:\w+\.)*(\w+)'>", expected)
    words = [name for name in dict.fromkeys(names) if name != "NoneType"]
    phrases = [_WORDS.get(word, f"a {word}") for word in words]
    if re.search(r"(?:[Ll]ist|Sequence)\[", expected):
        phrases.append("a list")
    return " or ".join(phrases) if phrases else expected


_WORDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a word", "dict": "a mapping"}


def _option_hint(expected: str, value: str) -> str:
    options = re.findall(r"'([^']*)'", " ".join(re.findall(r"Literal\[(.*?)\]", expected)))
    return "." + did_you_mean(value, options)


def _find(class_path: str) -> type | None:
    module, _, name = class_path.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    return found if isinstance(found, type) else None


def _short_names(message: str) -> list[str]:
    """Names that could stand where an unknown class stood."""
    import sslbolts.callbacks
    import sslbolts.data
    from sslbolts._lightning import lightning_module
    from sslbolts.methods.registry import METHODS

    where = _where(message)
    if where.startswith("model"):
        return list(METHODS)
    if where.startswith("data"):
        return list(sslbolts.data.__all__)
    return [*sslbolts.callbacks.__all__, *lightning_module("callbacks").__all__, *lightning_module("loggers").__all__]
