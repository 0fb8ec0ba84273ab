"""Accidents of a run while it trains, which are no bugs, in one line each."""

import errno
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslbolts._lightning import Trainer
from sslbolts.cli.run.earlier_runs import run_folder
from sslbolts.cli.shared.explain import cause_of
from sslbolts.errors import UsageError

__all__ = ["accidents_explained"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
_FOLDER = re.compile(r"Missing folder: (.+)\.")  # in the words of Lightning before 2.6
_RANK = re.compile(r"gloo.*(?:closed|reset) by peer|ncclRemoteError", re.DOTALL)


@contextmanager
def accidents_explained(trainer: Trainer) -> Iterator[None]:
    """Around ``trainer.fit``: say in one line that a disk is full, a folder gone, a process dead, a checkpoint unfit.

    Args:
        trainer: that fits.

    Raises:
        UsageError: in place of the exception that the accident led to; any other passes.
    """
    told = threading.excepthook

    def tell(arguments: threading.ExceptHookArgs) -> None:
        # TensorBoard writes in a thread, and raises again in the training what it ran into there.
        error = arguments.exc_value
        if not isinstance(error, OSError) or _of_files(error, run_folder(trainer)) is None:
            told(arguments)

    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        # The thread that hands tensors to workers shows what it ran into when one of them was gone, and goes on.
        if threading.current_thread() is threading.main_thread() or not isinstance(error, EOFError | ConnectionError):
            shown(kind, error, traceback)

    threading.excepthook, sys.excepthook = tell, show
    try:
        yield
    except Exception as error:
        message = None if cause_of(error, UsageError) else _explanation(error, trainer)
        if message is None:
            raise
        raise UsageError(message) from error
    finally:
        threading.excepthook, sys.excepthook = told, shown


def _explanation(error: Exception, trainer: Trainer) -> str | None:
    """The line for an exception; None for one that is no accident."""
    text = str(error)
    if isinstance(error, ConnectionError | EOFError):  # a worker's tensors are fetched from it, and it is gone
        return _of_a_worker(None)
    if (system := cause_of(error, OSError)) is not None:
        return _of_files(system, run_folder(trainer))
    if found := _FOLDER.fullmatch(text):
        return _of_files(FileNotFoundError(errno.ENOENT, text, found[1]), run_folder(trainer))
    if found := _WORKER.search(text):
        return _of_a_worker(found[1])
    if _RANK.search(text):
        return (
            "another process of this training has ended, and this one cannot go on alone. What ended it stands in its "
            "own output; if nothing does, perhaps the system was out of memory. --ckpt_path goes on from a checkpoint."
        )
    if text.startswith("Early stopping conditioned on metric"):  # which first sees the metrics when there are some
        return text
    if "checkpoint contains only the model" in text:
        return (
            f"the checkpoint {trainer.ckpt_path} holds weights alone (save_weights_only=True), and no run can go on "
            "from them: give one that was saved whole. What only reads features can use it."
        )
    if text.startswith("loaded state dict"):  # torch's words on an optimizer's state
        return (
            f"the optimizer of the checkpoint {trainer.ckpt_path} is not of this run: {text}. Build the model with "
            "the arguments that the checkpoint was made with."
        )
    return None


def _of_files(error: OSError, folder: Path) -> str | None:
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else None
    if error.errno in _FULL:
        return (
            f"there is no room left for {place or f'the files of the run, in {folder}'} ({error.strerror}): make room "
            "there, and go on from the last checkpoint with --ckpt_path."
        )
    if error.errno == errno.ENOENT and place and Path(place).resolve().is_relative_to(folder.resolve()):
        return f"the run's folder {folder} was moved or deleted while it trained: {place} cannot be written any more."
    return None


def _of_a_worker(signal: str | None) -> str:
    if signal == "Bus error":
        return (
            "a worker process that loads images has died for want of shared memory: give a smaller --data.num_workers "
            "or --data.batch_size, or the container more of it (--shm-size)."
        )
    how = f"was ended by a signal ({signal.strip()})" if signal else "has ended"
    return (
        f"a worker process that loads images {how}. If nobody did that, the system was out of memory: give a smaller "
        "--data.num_workers or --data.batch_size."
    )
