"""Short names on the command line: ``--model SimCLR``, ``--data CIFAR10``, ``--config simclr_cifar10``."""

import json
import os
import re
from collections.abc import Iterable, Sequence

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.configurations import configuration
from sslbolts.methods.configurations import names as configuration_names
from sslbolts.methods.registry import get_method

__all__ = ["CONFIG", "CONFIGURATIONS", "config_path", "data_class_path", "dotted_names", "expand", "model_class_path"]

CONFIGURATIONS = (".yaml", ".yml", ".json")
"""Endings of the files that may stand in place of a class."""


def model_class_path(name: str) -> str:
    """Class path of a method; a name with a dot is somebody's own class path and stays as it is.

    Example:
        >>> model_class_path("SimCLR"), model_class_path("my.module.Net")
        ('sslbolts.SimCLR', 'my.module.Net')
    """
    if "." in name:
        return name
    get_method(name)  # raises for an unknown name
    return f"sslbolts.{name}"


def data_class_path(name: str) -> str:
    """Class path of a DataModule, given with or without ``DataModule``; a name with a dot stays as it is.

    Example:
        >>> data_class_path("CIFAR10"), data_class_path("CIFAR10DataModule")
        ('sslbolts.data.CIFAR10DataModule', 'sslbolts.data.CIFAR10DataModule')
    """
    if "." in name or name == "null":
        return name
    import sslbolts.data

    suffix = "DataModule"
    known = [kind for kind in sslbolts.data.__all__ if kind.endswith(suffix) and kind != "SSLDataModule"]
    full = name if name.endswith(suffix) else name + suffix
    if full not in known:
        short = [kind.removesuffix(suffix) for kind in known]
        raise UsageError(
            f'there is no data "{name}".{did_you_mean(name.removesuffix(suffix), short)} It is one of '
            f"{', '.join(short)}, or the class path of a LightningDataModule."
        )
    return f"sslbolts.data.{full}"


def dotted_names(texts: Iterable[str]) -> set[str]:
    """What might be a class path in words of a command line, or in the text of a configuration.

    Example:
        >>> dotted_names(["--model=my.module.Net", "fit"])
        {'my.module.Net'}
    """
    return {name for text in texts for name in re.findall(r"\w+(?:\.\w+)+", text)}


def config_path(name: str) -> str:
    """The file of a configuration; a file of that path stands before one that comes with the package.

    Raises:
        UsageError: where there is neither.

    Example:
        >>> os.path.basename(config_path("simclr_cifar10"))
        'simclr_cifar10.yaml'
    """
    is_text = name.lstrip().startswith("{")  # of a configuration
    if is_text or (os.path.exists(name) and not os.path.isdir(name)):
        return name
    if os.path.dirname(name) or name.endswith(CONFIGURATIONS):
        stem = os.path.splitext(os.path.basename(name))[0]
        raise UsageError(f'there is no file "{name}".{did_you_mean(stem, configuration_names())}')
    return str(configuration(name))


_EXPANSIONS = {
    "--model": model_class_path,
    "--model.class_path": model_class_path,
    "--data": data_class_path,
    "--data.class_path": data_class_path,
}

CONFIG = ("-c", "--config")
"""Options that take a configuration."""

# Options that take several places in one value. Given twice, the first would be forgotten without a word.
_PLACES = {f"--data.{inner}{name}" for inner in ("", "init_args.") for name in ("root", "labeled_train", "labeled_val")}


def expand(arguments: Sequence[str], *, configs: bool = False) -> list[str]:
    """The same arguments with class paths in place of short names.

    A value that is no name (a file, or ``{...}``) stays as it is.

    Args:
        arguments: of a command line.
        configs: whether ``--config`` is an option of it.

    Raises:
        UsageError: for an unknown name, or places of images that are given twice.

    Example:
        >>> expand(["fit", "--model", "SimCLR", "--data=CIFAR10Mini"])
        ['fit', '--model', 'sslbolts.SimCLR', '--data=sslbolts.data.CIFAR10MiniDataModule']
    """
    places = [option.replace("init_args.", "") for word in arguments if (option := word.partition("=")[0]) in _PLACES]
    if twice := next((option for option in places if places.count(option) > 1), None):
        raise UsageError(f"{twice} is given twice, and one would be forgotten: give a list, as in {twice}='[A, B]'.")
    expanded: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if configs and expanded and expanded[-1] in CONFIG:
            argument = config_path(argument)
        elif configs and option in CONFIG and value:
            argument = f"{option}={config_path(value)}"
        if option in _EXPANSIONS and equals and not value:
            raise UsageError(
                f"{option} has no value: give a name, as in --model=SimCLR and --data=CIFAR10, or a class."
            )
        if equals and option in _EXPANSIONS and _is_name(value):
            argument = f"{option}={_class_path(option, value)}"
        elif expanded and expanded[-1] in _EXPANSIONS and _is_name(argument):
            argument = _class_path(expanded[-1], argument)
        expanded.append(argument)
    return expanded


def _class_path(option: str, name: str) -> str:
    """What a name stands for, said so that a file of that name is not taken for a configuration."""
    path = _EXPANSIONS[option](name)
    may_be_file = not option.endswith(".class_path") and not path.endswith(CONFIGURATIONS)
    return json.dumps({"class_path": path}) if may_be_file and os.path.exists(path) else path


def _is_name(value: str) -> bool:
    return value.replace(".", "").isidentifier()
