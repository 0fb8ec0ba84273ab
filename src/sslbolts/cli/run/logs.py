"""The logs of validate, test and predict: in folders apart, as a CSVLogger first deletes the metrics.csv in its own."""

from pathlib import Path
from typing import Any

from sslbolts._lightning import rank_zero_info
from sslbolts.cli.shared.checks import check_folder
from sslbolts.errors import UsageError

__all__ = ["log_apart", "log_nowhere"]


def log_apart(trainer: Any, verb: str) -> None:
    """Let the CSVLoggers of a configuration with a fixed folder write to new folders below it, named by the verb.

    Args:
        trainer: the Trainer's part of the configuration; changed in place.
        verb: "validate", "test" or "predict".

    Example:
        >>> from jsonargparse import Namespace
        >>> logger = Namespace(class_path="x.CSVLogger", init_args=Namespace(save_dir="runs", name="a", version=""))
        >>> log_apart(Namespace(logger=logger), "validate")
        >>> logger.init_args.name, logger.init_args.version
        ('a/validate', None)
    """
    loggers = trainer.get("logger")
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if str(getattr(logger, "class_path", "")).endswith(".CSVLogger"):
            arguments = logger.init_args
            if arguments.get("version") is not None:
                arguments.name = str(Path(arguments.name or "", str(arguments.version), verb))
                arguments.version = None


def log_nowhere(trainer: Any) -> bool:
    """Leave out the log that nobody has asked for, where no file of it could be: what is measured is printed anyway.

    Args:
        trainer: the Trainer's part of the configuration; changed in place.

    Returns:
        whether it was left out, which is said in one line.

    Example:
        >>> from jsonargparse import Namespace
        >>> log_nowhere(Namespace(logger=None, default_root_dir="."))
        False
    """
    root = trainer.get("default_root_dir")
    if root is None or trainer.get("logger") not in (None, True, False):
        return False
    try:
        check_folder("--trainer.default_root_dir", root)
    except UsageError as error:
        rank_zero_info(f"There is no log, and no config.yaml: {error}")
        trainer.logger, trainer.default_root_dir = False, None
        return True
    return False
