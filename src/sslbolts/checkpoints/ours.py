"""A checkpoint of a module that was trained here: its class, its arguments, its images and its weights."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from sslbolts.checkpoints.files import read_checkpoint, uncompiled
from sslbolts.checkpoints.safe_arguments import arguments_of_shape, with_checked_classes
from sslbolts.checks import import_named_in_file, is_plain
from sslbolts.errors import UsageError, argument_names, first_line
from sslbolts.transforms.preprocessing import Preprocessing

__all__ = ["Checkpoint"]

_Module = TypeVar("_Module", bound=nn.Module)
_LIGHTNINGS = ("_class_path", "_instantiator")  # what its command line adds to the hyperparameters


@dataclass(frozen=True)
class Checkpoint:
    """A file of ``Trainer.save_checkpoint`` or ``torch.save``.

    Attributes:
        path: the file.
        content: tensors and plain data; objects of other classes are placeholders.
    """

    path: str | Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> "Checkpoint":
        """Read a file; the weights are mapped into memory, and read when they are used.

        Raises:
            UsageError: if there is no such file, or it holds no dictionary of tensors and plain data.
        """
        return cls(path, read_checkpoint(path))

    @property
    def is_ours(self) -> bool:
        """True where a method of sslbolts, or of a class derived from one, was saved."""
        return "sslbolts_class" in self.content

    @property
    def class_path(self) -> str | None:
        """Dotted name of the module's class; None where the file does not say it."""
        name = self.content.get("sslbolts_class") or self._hparams.get("_class_path")
        return name if isinstance(name, str) else None

    def find_class(self, base: type[_Module]) -> type[_Module] | None:
        """The module's class, if a file may name it and it is derived from ``base``; else None."""
        try:
            return import_named_in_file(self.class_path or "", base)
        except UsageError:
            return None

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The module's hyperparameters, as far as they are plain data.

        Where training of a network began does not matter now, and the file may be a stranger's: arguments that name
        another file or weights to fetch are left out.

        Raises:
            UsageError: for arguments of a network that are no part of its form.
        """
        found = {name: value for name, value in self._hparams.items() if name not in _LIGHTNINGS}
        if self.is_ours:
            found = _with_form_of_teacher(found)
        elif isinstance(found.get("teacher"), dict):
            found["teacher"] = _of_shape(found["teacher"])
        beside = found.get("method")
        if self.is_ours and isinstance(beside, dict) and isinstance(beside.get("init_args"), dict):
            found["method"] = {**beside, "init_args": _with_form_of_teacher(beside["init_args"])}
        return {name: value for name, value in _of_shape(found).items() if is_plain(value)}

    def arguments_for(self, cls: type[nn.Module], given: Collection[str] = ()) -> dict[str, Any]:
        """Those arguments that a class takes, with the classes among them imported and checked.

        Args:
            cls: of the module.
            given: names of arguments that come from elsewhere.

        Raises:
            UsageError: for a class that a file may not name, or that is neither a module nor an optimizer.
        """
        ignored = {"zero_init_residual", *given}  # the file has weights of its own
        names = [name for name in argument_names(cls) if name in self.arguments and name not in ignored]
        return {name: with_checked_classes(self.arguments[name]) for name in names}

    def make(self, cls: type[_Module], arguments: Mapping[str, Any]) -> _Module:
        """A module of arguments of which some come from the file, and may be of any kind.

        Raises:
            UsageError: if they make none.
        """
        try:
            return cls(**arguments)
        except UsageError:
            raise
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            raise UsageError(
                f'the arguments in "{self.path}" make no {cls.__name__} ({type(error).__name__}: '
                f"{first_line(error)}): give those that are wrong by name."
            ) from error

    @property
    def left_out(self) -> list[str]:
        """Names of hyperparameters that are not plain data."""
        return [name for name in self._hparams if name not in self.arguments and name not in _LIGHTNINGS]

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing in the state of a DataModule; None where there is none."""
        return next(filter(None, map(Preprocessing.of, self.content.values())), None)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The module's state dict.

        Raises:
            UsageError: if it is none.
        """
        found = self.content.get("state_dict", {})
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise UsageError(f'the state_dict in "{self.path}" is no mapping of names to tensors.')
        return {uncompiled(name): tensor for name, tensor in found.items()}

    @property
    def _hparams(self) -> Mapping[str, Any]:
        found = self.content.get("hyper_parameters")
        return found if isinstance(found, Mapping) else {}


def _with_form_of_teacher(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a method, which stores a teacher's form: a word there is a name, and no file."""
    teacher = arguments.get("teacher")
    if isinstance(teacher, str):
        return {**arguments, "teacher": {"backbone": teacher}}
    return {**arguments, "teacher": _of_shape(teacher)} if isinstance(teacher, dict) else arguments


def _of_shape(arguments: dict[str, Any]) -> dict[str, Any]:
    kwargs = arguments.get("backbone_kwargs")
    return {**arguments, "backbone_kwargs": arguments_of_shape(kwargs)} if kwargs else arguments
