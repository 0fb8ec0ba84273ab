"""Earlier runs, moved aside from the folder of a new one before its training begins."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module
from sslbolts.cli.run.checkpoint import is_file_name
from sslbolts.errors import UsageError

__all__ = ["earlier_run_kept", "run_folder"]

_OF_A_RUN = ("config.yaml", "run.json", "metrics.csv")
"""Files by which a run is known, besides checkpoints."""

_PICTURES = "*-epoch[0-9][0-9][0-9][0-9]*.png"
"""Files of the callbacks that draw, in a run's folder of pictures."""

_LOGS = ("metrics.csv", "hparams.yaml")
"""Files of a CSVLogger."""


@contextmanager
def earlier_run_kept(trainer: Trainer, ckpt_path: str | None = None) -> Iterator[None]:
    """Around ``trainer.fit``: move an earlier run in the folder of this one to a folder of its own.

    ``runs/simclr`` becomes ``runs/simclr-1``, or the first number that is free, when the first batch is about to be
    trained on: no process reads the earlier run's files any more, such as a teacher's checkpoint, and a run that cannot
    start has changed nothing. A run that goes on from a checkpoint in its own folder leaves it where it is, and so does
    ``fast_dev_run``. In a folder that is not the run's alone (the working directory, ``default_root_dir``) only the
    files and pictures of a run move, to ``earlier-1`` in it.

    Args:
        trainer: about to fit; gets a callback.
        ckpt_path: what ``fit`` will be given.

    Raises:
        UsageError: if the earlier run cannot be moved.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, lightning_module("callbacks").ModelCheckpoint):
                callback.save_last = False  # it would write over last.ckpt even so
        yield
        return
    earlier = _EarlierRun(trainer, ckpt_path)
    trainer.callbacks.insert(0, earlier)  # type: ignore[attr-defined]  # before all that write when training starts
    try:
        yield
    finally:
        earlier.put_back()


class _EarlierRun(Callback):
    """The files that stand in a run's folder before it begins."""

    def __init__(self, trainer: Trainer, ckpt_path: str | None) -> None:
        self.files: list[Path] = []
        self.renamed: dict[Path, Path] = {}
        self.is_settled = False
        if not trainer.is_global_zero:
            return
        self.folder = run_folder(trainer)
        self.is_shared = _is_shared(self.folder, trainer)
        self.from_elsewhere = _is_elsewhere(ckpt_path, self.folder, trainer)
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        is_run = not names.isdisjoint(_OF_A_RUN) or any(name.endswith(".ckpt") for name in names)
        # A CSVLogger deletes the one and writes over the other before any callback is asked.
        goes_on = ckpt_path is not None and not self.from_elsewhere
        for folder in _csv_folders(trainer):
            for log in (folder / name for name in _LOGS[: 1 if goes_on else 2]):
                if log.is_file():
                    self.renamed[log] = log.rename(_free(log))
        if is_run:
            drawn = {str(path.relative_to(self.folder)) for path in (self.folder / "pictures").glob(_PICTURES)}
            own = names & {*_OF_A_RUN, *_LOGS} | drawn if self.is_shared else names
            self.files = [self.renamed.get(self.folder / name, self.folder / name) for name in sorted(own)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.is_settled = True
        # A spawned process has a copy of this callback, whichever rank it is. A job that SLURM resumes has a ckpt_path.
        if trainer.is_global_zero and self.files and (trainer.ckpt_path is None or self.from_elsewhere):
            self._move()
        trainer.strategy.barrier("earlier run kept")

    def put_back(self) -> None:
        """Give the logs their names again, if training never began."""
        if self.is_settled:
            return
        for log, kept in self.renamed.items():
            if kept.exists() and (log.name != "metrics.csv" or not log.exists()):
                kept.replace(log)

    def _move(self) -> None:
        place = _free(self.folder / "earlier" if self.is_shared else self.folder)
        try:
            place.mkdir()
            for path in self.files:
                if path.exists():
                    target = place / path.relative_to(self.folder)
                    target.parent.mkdir(exist_ok=True)
                    shutil.move(path, target)
            for log, kept in self.renamed.items():
                if (place / kept.name).exists():
                    (place / kept.name).rename(place / log.name)
        except OSError as error:
            raise UsageError(f"the earlier run in {self.folder} cannot be moved to {place}: {error}") from error
        print(f"The earlier run in {self.folder} is kept as {place}.", flush=True)


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
