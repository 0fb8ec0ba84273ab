"""What a checkpoint says of the model it was made with, as defaults below everything explicit."""

import importlib
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbolts.errors import UsageError, argument_names

__all__ = ["CheckpointValues", "is_file_name"]


def is_file_name(path: str | None) -> bool:
    """Whether a ``ckpt_path`` names a file, and is no address nor one of Lightning's keywords.

    Example:
        >>> [is_file_name(path) for path in ("last.ckpt", "last", "registry:me/model", "s3://runs/last.ckpt", None)]
        [True, False, False, False, False]
    """
    if path is None or path in ("best", "last", "hpc"):
        return False
    return "://" not in path and path.lower().partition(":")[0] != "registry"


@dataclass(frozen=True)
class CheckpointValues:
    """Class and arguments of the model in a checkpoint.

    Attributes:
        path: the checkpoint; None where there is none.
        class_path: the model's class; None where the checkpoint does not say it.
        arguments: the model's hyperparameters of plain types.
    """

    path: str | None = None
    class_path: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str | None) -> "CheckpointValues":
        """Read a checkpoint.

        Raises:
            UsageError: if there is no such file, or it is no checkpoint of Lightning.
        """
        if path is None or not is_file_name(path):
            return cls(path)
        from sslbolts.checkpoints.safe_arguments import arguments_of_shape

        checkpoint = _load(path)
        hparams = dict(checkpoint.get("hyper_parameters") or {})
        class_path = hparams.pop("_class_path", None) or checkpoint.get("sslbolts_class")
        hparams.pop("_instantiator", None)
        if hparams.get("backbone_kwargs"):  # the weights are in the checkpoint: nothing else is to be opened or fetched
            hparams["backbone_kwargs"] = arguments_of_shape(hparams["backbone_kwargs"])
        return cls(path, class_path, {name: value for name, value in hparams.items() if _is_plain(value)})

    @property
    def needs_class(self) -> bool:
        """Whether there are arguments, and the checkpoint does not say whose."""
        return bool(self.arguments) and self.class_path is None

    def as_arguments(self, class_path: str | None = None) -> list[str]:
        """Command-line arguments to stand before the explicit ones, which so win.

        Args:
            class_path: the model's class where the checkpoint does not say it.
        """
        class_path = self.class_path or class_path
        if class_path is None:
            return []
        accepted = argument_names(_import(class_path))
        arguments = {name: value for name, value in self.arguments.items() if name in accepted}
        return ["--model", json.dumps({"class_path": class_path, "init_args": arguments})]

    def check_class(self, class_path: str) -> None:
        """Refuse a model that is not of the checkpoint's class, nor derived from it, nor the other way round.

        Raises:
            UsageError: names both.
        """
        if self.class_path is None:
            return
        wanted, stored = _import(class_path), _import(self.class_path)
        if not (issubclass(wanted, stored) or issubclass(stored, wanted)):
            raise UsageError(
                f"the checkpoint {self.path} is of {stored.__name__}, not of {wanted.__name__}: give the --model "
                "or the --ckpt_path that goes with the other."
            )


def _load(path: str) -> dict[str, Any]:
    import torch

    if not Path(path).is_file():
        raise UsageError(f"there is no checkpoint {path}: give --ckpt_path a file that ModelCheckpoint wrote.")
    try:
        # Mapped, the weights themselves are not read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) and zipfile.is_zipfile(path):
            # Objects of other classes in it: the Trainer will load or refuse it, as its weights_only says.
            return {}
        raise UsageError(f"{path} is not a checkpoint: it cannot be unpickled.") from error
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{path} is not a checkpoint, or is damaged: {error}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UsageError(f"{path} is not a checkpoint of Lightning: it holds no state_dict.")
    return checkpoint


def _import(class_path: str) -> type:
    module, _, name = class_path.rpartition(".")
    try:
        cls: type = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"the class {class_path} cannot be imported: {error}.") from error
    return cls


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
