"""The model of a ``--ckpt_path``: its class and arguments, below everything that is given explicitly."""

import json

from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checks import import_class
from sslbolts.errors import UsageError, argument_names

__all__ = ["check_class", "is_file_name", "model_arguments", "read"]


def is_file_name(path: str | None) -> bool:
    """Whether a ``ckpt_path`` names a file, and is no address nor one of Lightning's keywords.

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
    if path is None or not is_file_name(path):
        return None
    checkpoint = Checkpoint.read(path)
    if "state_dict" not in checkpoint.content:
        raise UsageError(f'"{path}" is not a checkpoint of Lightning: it holds no state_dict.')
    return checkpoint


def model_arguments(checkpoint: Checkpoint | None, class_path: str | None = None) -> list[str]:
    """Command-line arguments to stand before the explicit ones, which so win.

    Args:
        checkpoint: None gives no arguments.
        class_path: the model's class where the checkpoint does not say it.
    """
    class_path = (checkpoint and checkpoint.class_path) or class_path
    if checkpoint is None or class_path is None:
        return []
    accepted = argument_names(import_class(class_path))
    arguments = {name: value for name, value in checkpoint.arguments.items() if name in accepted}
    return ["--model", json.dumps({"class_path": class_path, "init_args": arguments})]


def check_class(checkpoint: Checkpoint | None, class_path: str) -> None:
    """Refuse a model that is not of the checkpoint's class, nor derived from it, nor the other way round.

    Raises:
        UsageError: names both.
    """
    if checkpoint is None or checkpoint.class_path is None:
        return
    wanted, stored = import_class(class_path), import_class(checkpoint.class_path)
    if not (issubclass(wanted, stored) or issubclass(stored, wanted)):
        raise UsageError(
            f'the checkpoint "{checkpoint.path}" is of {stored.__name__}, not of {wanted.__name__}: give the --model '
            "or the --ckpt_path that goes with the other."
        )
