"""Earlier runs, moved aside from the folder of a new one once it has done a step."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module
from sslbolts.cli.run.checkpoint import is_file_name
from sslbolts.cli.run.folder_before import FolderBefore
from sslbolts.cli.run.lock import FolderLock
from sslbolts.errors import UsageError

__all__ = ["earlier_run_kept", "run_folder"]

_OF_A_RUN = ("config.yaml", "run.json", "metrics.csv")
"""Files by which a run is known, besides checkpoints."""

_LOGS = ("metrics.csv", "hparams.yaml")
"""Files of a CSVLogger."""


@contextmanager
def earlier_run_kept(trainer: Trainer, ckpt_path: str | None = None) -> Iterator[None]:
    """Around ``trainer.fit``: one run at a time in a folder, and an earlier one moves to a folder of its own.

    ``runs/simclr`` becomes ``runs/simclr-1``, or the first number that is free, when the first batch has been trained
    on: no process reads the earlier run's files any more, such as a teacher's checkpoint. A run that ends before has
    changed nothing. If it is killed, the next one in the folder puts the files back; the move itself is one rename, so
    no run is ever split over two folders. A run that goes on from a checkpoint in its own folder leaves it where it is,
    and so does ``fast_dev_run``. In a folder that is not the run's alone (the working directory, ``default_root_dir``)
    only the files and pictures of a run move, to ``earlier-1`` in it.

    While it lasts, a lock beside the folder (in it, if the folder is not the run's alone) names the process.

    Args:
        trainer: about to fit; gets a callback.
        ckpt_path: what ``fit`` will be given.

    Raises:
        UsageError: if another run is going on in the folder, or the earlier run cannot be moved.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, lightning_module("callbacks").ModelCheckpoint):
                callback.save_last = False  # it would write over last.ckpt even so
        yield
        return
    earlier = _EarlierRun(trainer, ckpt_path)
    trainer.callbacks.insert(0, earlier)  # type: ignore[attr-defined]  # before all that write after the first batch
    try:
        yield
    finally:
        earlier.close()


class _EarlierRun(Callback):
    """The files that stand in a run's folder before it begins."""

    keeps_earlier_runs = True  # so that pictures need no folder of their own

    def __init__(self, trainer: Trainer, ckpt_path: str | None) -> None:
        self.renamed: dict[Path, Path] = {}
        self.is_settled = False
        self.is_first = trainer.is_global_zero
        self.is_run = False
        self.kept_log: Path | None = None
        self.made: list[Path] = []
        if not self.is_first:
            return
        self.folder = run_folder(trainer)
        self.is_shared = _is_shared(self.folder, trainer)
        self.from_elsewhere = _is_elsewhere(ckpt_path, self.folder, trainer)
        hidden = self.folder / ".run" if self.is_shared else self.folder.with_name(f".{self.folder.name}")
        self.next = hidden.with_name(f"{hidden.name}.next")
        self.before = FolderBefore(self.folder, hidden.with_name(f"{hidden.name}.before"), is_shared=self.is_shared)
        self.made = _make_folder(hidden.parent)
        self.lock = FolderLock(hidden.with_name(f"{hidden.name}.lock"), self.folder)
        try:
            self.lock.acquire()
        except BaseException:
            self._remove_made()
            raise
        try:
            self._look(trainer, goes_on=ckpt_path is not None and not self.from_elsewhere)
        except BaseException:
            self.close()
            raise

    def _look(self, trainer: Trainer, *, goes_on: bool) -> None:
        if self.before.is_taken or self.next.is_dir():
            if self.before.is_taken:
                self.before.put_back()
            shutil.rmtree(self.next, ignore_errors=True)
            print(f"A run in {self.folder} was cut off at its beginning: its traces are removed.", flush=True)
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        self.is_run = not names.isdisjoint(_OF_A_RUN) or any(name.endswith(".ckpt") for name in names)
        self.before.take()
        # A CSVLogger deletes the one and writes over the other before any callback is asked.
        if goes_on and self.folder in _csv_folders(trainer) and "metrics.csv" in names:
            self.kept_log = _free(self.folder / "metrics.csv")
        for folder in _csv_folders(trainer):
            if folder != self.folder:
                for log in (folder / name for name in _LOGS[: 1 if goes_on else 2]):
                    if log.is_file():
                        self.renamed[log] = log.rename(_free(log))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not self.is_settled:
            self.is_settled = True
            # A spawned process has a copy of this callback, whichever rank it is.
            if trainer.is_global_zero and self.is_first:
                self._settle(trainer)
            trainer.strategy.barrier("earlier run kept")
        if trainer.is_global_zero and self.is_first:
            self.lock.touch()

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.is_global_zero and self.is_first:
            self.lock.touch()

    def close(self) -> None:
        """Leave the folder to others, and as it was if no step was done."""
        if not self.is_first:
            return
        if self.before.is_taken:
            self.before.put_back()
            for log, kept in self.renamed.items():
                if kept.exists() and (log.name != "metrics.csv" or not log.exists()):
                    kept.replace(log)
        self.lock.release()
        self._remove_made()

    def _settle(self, trainer: Trainer) -> None:
        # A job that SLURM resumes has a ckpt_path.
        moves = self.is_run and (trainer.ckpt_path is None or self.from_elsewhere)
        if moves:
            self._move()
        elif self.kept_log is not None:
            (self.before.copies / "metrics.csv").rename(self.kept_log)
        self.before.forget()

    def _move(self) -> None:
        place = _free(self.folder / "earlier" if self.is_shared else self.folder)
        try:
            if self.is_shared:
                self.before.keep_as(place)
            else:
                self.before.part(self.next)
                self.folder.rename(place)
                self.next.rename(self.folder)
        except OSError as error:
            raise UsageError(f"the earlier run in {self.folder} cannot be moved to {place}: {error}") from error
        print(f"The earlier run in {self.folder} is kept as {place}.", flush=True)

    def _remove_made(self) -> None:
        for folder in self.made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder, and name those that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}. Give another one.") from error
    return made


def run_folder(trainer: Trainer) -> Path:
    """The folder of Lightning's and our callbacks; as ``trainer.log_dir``, which asks the other processes."""
    loggers: list[Any] = trainer.loggers
    folder = trainer.default_root_dir
    if loggers:
        folder = getattr(loggers[0], "log_dir", None) or loggers[0].save_dir or folder
    return _without_link(folder)


def _without_link(folder: str | os.PathLike[str]) -> Path:
    """A folder's own name: a link to it would be renamed, and the folder not."""
    return Path(os.path.realpath(folder)) if Path(folder).is_symlink() else Path(folder)


def _is_shared(folder: Path, trainer: Trainer) -> bool:
    here, root = Path.cwd(), Path(trainer.default_root_dir).resolve()
    return folder.resolve() in (here, *here.parents, root, *root.parents)


def _is_elsewhere(ckpt_path: str | None, folder: Path, trainer: Trainer) -> bool:
    """Whether a checkpoint is none of the run that stands in the folder."""
    if ckpt_path is None or not is_file_name(ckpt_path):
        return False
    folders = [folder, *(callback.dirpath for callback in trainer.checkpoint_callbacks if callback.dirpath)]  # type: ignore[attr-defined]
    return not any(Path(ckpt_path).resolve().is_relative_to(Path(path).resolve()) for path in folders)


def _csv_folders(trainer: Trainer) -> list[Path]:
    return [
        _without_link(logger.log_dir)
        for logger in trainer.loggers
        if type(logger).__name__ == "CSVLogger" and logger.log_dir
    ]


def _free(path: Path) -> Path:
    """The name with the first number that nothing has yet."""
    stem, suffix = (path.stem, path.suffix) if path.is_file() else (path.name, "")
    number = 1
    while (place := path.with_name(f"{stem}-{number}{suffix}")).exists():
        number += 1
    return place
