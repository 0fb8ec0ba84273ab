"""The settings of a run that no configuration file has: data, views and Trainer, in plain types."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sslbolts._lightning import Trainer
from sslbolts.checks import as_plain, is_plain

__all__ = ["run_settings"]

_OF_THE_TRAINER = (
    "max_epochs",
    "max_steps",
    "min_epochs",
    "min_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "check_val_every_n_epoch",
    "limit_train_batches",
    "limit_val_batches",
    "log_every_n_steps",
    "num_nodes",
)


def run_settings(trainer: Trainer) -> dict[str, Any]:
    """Arguments of the DataModule and the Trainer, by the names under which a configuration has them.

    Arguments of the DataModule are read from its attributes of the same names; those that it keeps under no such name,
    and those that are no plain values, are left out. Recipes of views are written as Python has them.

    Args:
        trainer: while it trains.

    Example:
        >>> sorted(run_settings(Trainer(max_epochs=3, logger=False, enable_checkpointing=False)))
        ['trainer']
    """
    given = {name: getattr(trainer, name, None) for name in _OF_THE_TRAINER}
    unset = {"max_steps": -1, "min_epochs": 0, "limit_train_batches": 1.0, "limit_val_batches": 1.0, "num_nodes": 1}
    found: dict[str, Any] = {
        name: as_plain(value)
        for name, value in given.items()
        if value is not None and is_plain(value) and value != unset.get(name)
    }
    found |= {
        "accelerator": trainer.strategy.root_device.type,
        "devices": trainer.num_devices,
        "strategy": type(trainer.strategy).__name__,
        "precision": str(trainer.precision),
        "callbacks": [
            type(callback).__name__
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if not type(callback).__name__.startswith("_")
        ],
    }
    settings: dict[str, Any] = {"trainer": found}
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        kind = type(data)
        settings["data"] = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": _arguments(data)}
    elif (loader := getattr(trainer, "train_dataloader", None)) is not None:
        size = getattr(loader, "batch_size", None)
        settings["data"] = {"batch_size": size} if isinstance(size, int) else {}
    return {name: part for name, part in settings.items() if part}


def _arguments(module: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type(module).__mro__:
        parameters = inspect.signature(vars(kind)["__init__"]).parameters if "__init__" in vars(kind) else {}
        for name, parameter in parameters.items():
            if name == "self" or name in found or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            value = getattr(module, name, None)
            if is_dataclass(value):
                found[name] = _brief(value)
            elif isinstance(value, Path):
                found[name] = str(value)
            elif value is not None and is_plain(value):
                found[name] = as_plain(value)
    return found


def _brief(value: Any) -> str:
    """A recipe as Python has it, without what is as usual.

    Example:
        >>> from sslbolts.transforms import MultiView, View
        >>> _brief(MultiView((View(32, flip=0.0),) * 2, normalize=False))
        'MultiView(views=(View(size=32, flip=0.0),) * 2, normalize=False)'
    """
    shown = []
    for field in fields(value):
        own = getattr(value, field.name)
        usual = field.default_factory() if field.default_factory is not MISSING else field.default
        if own != usual:
            shown.append(f"{field.name}={_part(own)}")
    return f"{type(value).__name__}({', '.join(shown)})"


def _part(value: Any) -> str:
    if isinstance(value, Sequence) and value and is_dataclass(value[0]):
        runs = [(len(list(run)), item) for item, run in groupby(value)]
        return " + ".join(f"({_brief(item)},){f' * {count}' if count > 1 else ''}" for count, item in runs)
    return _brief(value) if is_dataclass(value) else repr(value)
