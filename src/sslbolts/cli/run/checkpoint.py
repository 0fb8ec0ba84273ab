"""The model of a ``--ckpt_path``: its class and arguments, below everything that is given explicitly."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml  # type: ignore[import-untyped]

from sslbolts._lightning import LightningModule
from sslbolts.checkpoints.files import must_be_file, refused_classes, some
from sslbolts.checkpoints.hub import is_address
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checks import import_class, import_named_in_file, is_own, is_trusted
from sslbolts.cli.shared.classes import annotations
from sslbolts.cli.shared.names import CONFIG, dotted_names
from sslbolts.errors import UsageError

__all__ = ["check", "check_trust", "is_file_name", "model_arguments", "names_given", "read"]


def is_file_name(path: str | None) -> bool:
    """True for a ``ckpt_path`` that names a file, and is no address nor one of Lightning's keywords.

    Example:
        >>> [is_file_name(path) for path in ("last.ckpt", "last", "registry:me/model", "s3://runs/last.ckpt", None)]
        [True, False, False, False, False]
    """
    if path is None or path in ("best", "last", "hpc"):
        return False
    return "://" not in path and path.lower().partition(":")[0] != "registry"


def read(path: str | None) -> Checkpoint | None:
    """The checkpoint of a ``ckpt_path``; None where it names no file.

    Raises:
        UsageError: if there is no such file, or it is no checkpoint of Lightning.
    """
    if path is not None and is_address(path):
        must_be_file(path)  # which it is not, and says what it is good for
    if path is None or not is_file_name(path):
        return None
    checkpoint = Checkpoint.read(path)
    if "state_dict" not in checkpoint.content:
        raise UsageError(f'"{path}" is not a checkpoint of Lightning: it holds no state_dict.')
    return checkpoint


def model_arguments(
    checkpoint: Checkpoint | None, explicit: Sequence[str] = (), class_path: str | None = None
) -> list[str]:
    """Command-line arguments to stand before the explicit ones, which so win.

    Args:
        checkpoint: None gives no arguments.
        explicit: the explicit arguments.
        class_path: the model's class where the checkpoint does not say it, or may not name it.

    Raises:
        UsageError: for an argument in the file by which the parser would import or call something.
    """
    if checkpoint is None:
        return []
    cls: type | None = checkpoint.find_class(LightningModule)
    if cls is not None:
        class_path = checkpoint.class_path
    elif class_path is not None:
        cls = import_class(class_path)
    if cls is None:
        return []
    given = [name for text in explicit for name in re.findall(r"^--model\.(?:init_args\.)?(\w+)(?:=|$)", text)]
    arguments = checkpoint.arguments_for(cls, given)
    kinds = annotations(cls)
    for name, value in arguments.items():
        if not _is_text(kinds.get(name)) and any(map(_is_more_than_text, _texts(value))):
            raise UsageError(
                f'the checkpoint "{checkpoint.path}" has {name}={value!r}, in which the command line sees a class: '
                f"give --model.{name} yourself."
            )
    return ["--model", json.dumps({"class_path": class_path, "init_args": arguments})]


def check(checkpoint: Checkpoint | None, class_path: str | None, weights_only: bool | None) -> None:
    """Refuse a checkpoint that is of another model, or that the Trainer would have to run code of.

    Args:
        checkpoint: None is not refused.
        class_path: the model's class; it is the checkpoint's, or derived from it, or the other way round.
        weights_only: False lets the Trainer load whatever the file holds.

    Raises:
        UsageError: names what does not go together.
    """
    if checkpoint is None:
        return
    if weights_only is not False and (objects := refused_classes(checkpoint.path)):
        raise UsageError(
            f'"{checkpoint.path}" holds more than tensors and plain data: {some(objects)}. Where you trust the file, '
            "--weights_only=false loads it and runs that code (Lightning 2.6 and newer)."
        )
    if class_path is None:
        if checkpoint.class_path is not None:
            import_named_in_file(checkpoint.class_path, LightningModule)
        return
    wanted, stored = import_class(class_path), checkpoint.find_class(LightningModule)
    if stored is not None and not (issubclass(wanted, stored) or issubclass(stored, wanted)):
        raise UsageError(
            f'the checkpoint "{checkpoint.path}" is of {stored.__name__}, not of {wanted.__name__}: give the --model '
            "or the --ckpt_path that goes with the other."
        )


def names_given(arguments: Sequence[str]) -> set[str]:
    """Dotted names of the user's: classes among them may stand in a checkpoint, too.

    Those on a command line, and those in its configurations that are not of an installed package, or of one that the
    user trusts: configuration and checkpoint may be the same stranger's.
    """
    files = [
        after if word in CONFIG else word.partition("=")[2]
        for word, after in zip(arguments, [*arguments[1:], ""])
        if word.partition("=")[0] in CONFIG
    ]
    texts = [Path(file).read_text(encoding="utf-8", errors="replace") for file in files if os.path.isfile(file)]
    written = {name for name in dotted_names(texts) if is_own(name) or is_trusted(name)}
    return dotted_names(arguments) | written


def check_trust(explicit: Sequence[str], weights_only: bool | None) -> None:
    """Refuse a configuration by which a checkpoint may run code, which its own author could have written.

    Args:
        explicit: arguments of the command line.
        weights_only: of the parsed configuration.

    Raises:
        UsageError: unless the command line says it, too.
    """
    if weights_only is False and not any(word.partition("=")[0] == "--weights_only" for word in explicit):
        raise UsageError(
            "a configuration has weights_only: false, which lets a checkpoint run code: where you trust the "
            "checkpoint, say --weights_only=false on the command line yourself."
        )


def _is_text(kind: Any) -> bool:
    """True for a type that has words and numbers, and nothing that a parser could make out of them."""
    if get_origin(kind) in (Union, UnionType):
        return all(map(_is_text, get_args(kind)))
    return get_origin(kind) is Literal or kind in (str, int, float, bool, type(None))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "class_path" in value:  # it has been checked
            value = value.get("init_args", {})
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _is_more_than_text(text: str) -> bool:
    """True for YAML, and a dotted name in a package that is there."""
    try:
        if isinstance(yaml.safe_load(text), dict | list | set):
            return True
    except (yaml.YAMLError, ValueError):
        return True
    package, dot, _ = text.strip().partition(".")
    return bool(dot) and package.isidentifier() and (package in sys.modules or find_spec(package) is not None)
