"""Folders apart for the logs of validate, test and predict: a CSVLogger first deletes the metrics.csv in its own."""

from pathlib import Path
from typing import Any

__all__ = ["log_apart"]


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
