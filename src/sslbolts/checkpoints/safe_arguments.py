"""The arguments of a network that a file may give: those of its form, and none that opens anything else."""

import io
import pickle
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sslbolts.checks import as_plain, import_named_in_file, is_plain
from sslbolts.errors import UsageError

__all__ = ["arguments_of_shape", "storable", "with_checked_classes"]

# Names by which timm and torchvision are told how weights start, where they are, or where to keep them: training began
# there, but the file has weights of its own, and may be a stranger's, who must not choose which other files are opened.
_ELSEWHERE = re.compile(
    r"zero_init_|pretrain|checkpoint|weights|cache|url|hub|(^|_)(file|filename|dir|folder)$|(^|(?<!drop)_)path$"
)
_PLACE = re.compile(r"[/\\:]")  # what paths and addresses have, and no name of a layer or a pooling


def arguments_of_shape(arguments: Any, what: str = "backbone_kwargs") -> dict[str, Any]:
    """Arguments of a network as a file has them, without those that say where training began.

    Args:
        arguments: a mapping, or None for none.
        what: their name in messages.

    Raises:
        UsageError: for a value that is no number, name or collection of them, and so is no part of a network's form.

    Example:
        >>> arguments_of_shape({"img_size": 32, "pretrained": True, "checkpoint_path": "weights.pth"})
        {'img_size': 32}
        >>> arguments_of_shape({"act_layer": "layers/mine"})
        Traceback (most recent call last):
        sslbolts.errors.UsageError: backbone_kwargs act_layer='layers/mine' of a file: it must be numbers and names...
    """
    if not isinstance(arguments or {}, Mapping):
        raise UsageError(f"{what} of a file are a {type(arguments).__name__}, and must be a mapping of names.")
    kept = {name: value for name, value in (arguments or {}).items() if not _ELSEWHERE.search(str(name).lower())}
    for name, value in kept.items():
        if not _is_of_shape(value):
            raise UsageError(
                f"{what} {name}={value!r} of a file: it must be numbers and names of layers, without paths and "
                "objects; build that network and pass it as backbone=."
            )
    return kept


def with_checked_classes(value: Any) -> Any:
    """A hyperparameter of a file, whose class paths are all of modules and optimizers that a file may name.

    Raises:
        UsageError: for any other class path, or arguments of such a class that open something else.

    Example:
        >>> with_checked_classes({"class_path": "os.system", "init_args": {"command": "ls"}})
        Traceback (most recent call last):
        sslbolts.errors.UsageError: a file names the class os.system, and may name those of sslbolts, torch.nn, ...
    """
    if isinstance(value, list | tuple):
        return type(value)(with_checked_classes(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    value = {name: with_checked_classes(item) for name, item in value.items()}
    if "class_path" not in value and not any(name.startswith("__") for name in value):
        return value
    if not {"class_path"} <= value.keys() <= {"class_path", "init_args"}:
        raise UsageError(f"a file describes an object by {', '.join(value)}: it may give class_path and init_args.")
    import_named_in_file(str(value["class_path"]), nn.Module, Optimizer)
    return {**value, "init_args": arguments_of_shape(value.get("init_args"), "init_args")}


def storable(name: str, value: Any) -> Any:
    """A hyperparameter as a checkpoint can hold it, in Python's own types.

    Args:
        name: of the argument.
        value: anything but a module.

    Raises:
        UsageError: for a class, a function or an object, which the checkpoint could not be read with.

    Example:
        >>> storable("backbone_kwargs", {"act_layer": nn.GELU})
        Traceback (most recent call last):
        sslbolts.errors.UsageError: backbone_kwargs={'act_layer': ...} cannot be stored in a checkpoint: ...
    """
    value = as_plain(value)
    if not is_plain(value):
        content = io.BytesIO()
        try:
            torch.save(value, content)
            content.seek(0)
            torch.load(content, weights_only=True)
        except (pickle.UnpicklingError, pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
            raise UsageError(
                f"{name}={value!r} cannot be stored in a checkpoint: give numbers, words, lists and mappings, or build "
                "the network and pass it as backbone=."
            ) from error
    return value


def _is_of_shape(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_of_shape(item) and not _ELSEWHERE.search(str(name).lower()) for name, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_of_shape, value))
    if isinstance(value, str):
        return not _PLACE.search(value)
    return value is None or isinstance(value, bool | int | float)
