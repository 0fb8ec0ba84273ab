"""The epochs in which a picture is drawn, and the files and loggers that get it."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sslbolts._lightning import Trainer, rank_zero_warn
from sslbolts.checks import whole, whole_file
from sslbolts.distributed import all_sum
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Publisher"]


class Publisher:
    """Sends a figure to the Trainer's loggers that take pictures, and to ``FOLDER/pictures/NAME-epoch0010.png``.

    TensorBoard loggers get it by ``add_image``, MLflow as an artifact of the run, others that have ``log_image``
    (Weights & Biases) by that. What draws is only called on rank 0.

    No run overwrites another's pictures: FOLDER is the run's own where its first logger has one, and else, where
    pictures of that name are there already, the first of ``pictures-1``, ``pictures-2``, ... without any.

    Args:
        name: of the picture: the tag in loggers is ``pictures/NAME``.
        every_n_epochs: drawn at the first validation that ends an epoch when so many more are over, and at the last
            that ``max_epochs`` and ``max_steps`` leave room for; always in ``validate`` and ``test``.
        folder: None is the folder of the first logger, or the Trainer's ``default_root_dir``; with a folder of your
            own, what is there is overwritten.

    Raises:
        UsageError: for fewer than one epoch.

    Example:
        >>> Publisher("neighbors", every_n_epochs=5).name
        'neighbors'
    """

    def __init__(self, name: str, *, every_n_epochs: int = 1, folder: str | Path | None = None) -> None:
        whole(every_n_epochs=every_n_epochs)
        self.name = name
        self.every_n_epochs = every_n_epochs
        self.folder = folder
        self._drawn = 0  # epochs that were over at the last picture
        self._off = self._told = False
        self._goes_on = False  # from a checkpoint
        self._places: dict[tuple[str, str], Path] = {}

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """No picture is worth a run: if it cannot be drawn, that is warned of once, and no more are."""
        try:
            yield
        except Exception as error:  # of whatever library draws
            self._off = True
            self._tell(f"{type(error).__name__}: {error}")

    def is_off(self, trainer: Trainer) -> bool:
        """True once the picture could not be drawn on some rank. All ranks must call it."""
        count = torch.tensor(int(self._off), device=trainer.strategy.root_device)
        self._off = bool(all_sum(count) > 0)
        if self._off:
            self._tell("another rank could not draw it.")
        return self._off

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            rank_zero_warn(f"the picture {self.name} cannot be drawn, and is left out from now on: {why}")

    def begin(self, trainer: Trainer) -> None:
        """Count epochs from here; where training starts or is resumed."""
        self._drawn = trainer.current_epoch
        self._goes_on = trainer.global_step > 0
        self._places = {}

    def due(self, trainer: Trainer) -> bool:
        """Whether this epoch ends with a picture, and this validation is its last as far as one can know.

        All ranks must call it.
        """
        if self.is_off(trainer):
            return False
        if trainer.state.fn != "fit" or _is_last_validation(trainer):
            return True
        passed, every = self.passed(trainer), self.every_n_epochs
        # Not each tenth epoch alone: validation itself may come every three epochs only, and miss it.
        last = passed == trainer.max_epochs and passed > self._drawn
        enough = last or passed // every > self._drawn // every
        return enough and not _validates_again(trainer)

    def due_without_validation(self, trainer: Trainer) -> bool:
        """Whether this epoch, which is over, ends with a picture, in a run that has no validation.

        All ranks must call it.
        """
        if self.is_off(trainer):
            return False
        passed, every = self.passed(trainer), self.every_n_epochs
        steps = trainer.max_steps == trainer.global_step
        last = (passed == trainer.max_epochs or steps or trainer.should_stop) and passed > self._drawn
        return last or passed // every > self._drawn // every

    def path(self, trainer: Trainer) -> Path:
        """The file of the picture that is drawn now. All ranks must call it: the loggers tell each other the folder."""
        if trainer.state.fn == "fit":
            self._drawn = self.passed(trainer)
        stage = "" if trainer.state.fn in ("fit", None) else f"{trainer.state.fn.value}-"
        return self._place(trainer, f"{stage}{self.name}") / f"{stage}{self.name}-epoch{self.passed(trainer):04d}.png"

    def _place(self, trainer: Trainer, name: str) -> Path:
        if self.folder is not None:
            return Path(self.folder) / "pictures"
        root = trainer.log_dir or trainer.default_root_dir
        key = (str(root), name)
        if key not in self._places:
            place = _folder_of_run(trainer, Path(root)) / "pictures"
            kept = any(getattr(callback, "keeps_earlier_runs", False) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            if not (self._goes_on or kept):
                tried = [place, *(place.with_name(f"pictures-{number}") for number in range(1, 1000))]
                place = next((folder for folder in tried if not any(folder.glob(f"{name}-epoch*.png"))), place)
            self._places[key] = Path(trainer.strategy.broadcast(str(place)))  # rank 0 alone sees its own files
        return self._places[key]

    @staticmethod
    def passed(trainer: Trainer) -> int:
        """Epochs that are over when this one is; outside of ``fit`` those of the checkpoint."""
        return trainer.current_epoch + int(trainer.state.fn == "fit")

    def publish(self, trainer: Trainer, figure: "Figure", path: Path) -> None:
        """Write and log a figure; on rank 0."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # which leaves no files
        from PIL import Image

        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=130)
        try:
            with whole_file(path) as unfinished:
                unfinished.write_bytes(png.getvalue())
        except UsageError as error:  # no reason to end a training
            rank_zero_warn(str(error))
        tag = f"pictures/{self.name}"
        for logger in trainer.loggers:
            # Others' experiments are not looked at: asking for them may start a connection.
            if type(logger).__name__ == "TensorBoardLogger":
                import numpy as np

                pixels = np.asarray(Image.open(png, formats=("PNG",)).convert("RGB"))
                logger.experiment.add_image(tag, pixels, trainer.global_step, dataformats="HWC")  # type: ignore[attr-defined]
            elif type(logger).__name__ == "MLFlowLogger":
                image = Image.open(png, formats=("PNG",)).convert("RGB")
                logger.experiment.log_image(logger.run_id, image, f"pictures/{path.name}")  # type: ignore[attr-defined]
            elif callable(log_image := getattr(logger, "log_image", None)):
                log_image(key=tag, images=[Image.open(png, formats=("PNG",)).convert("RGB")], step=trainer.global_step)


def _folder_of_run(trainer: Trainer, root: Path) -> Path:
    """The folder of this run alone; of loggers that name none (MLflow, Weights & Biases) where ModelCheckpoint's is."""
    logger: Any = trainer.logger
    shared = getattr(logger, "save_dir", None)
    if logger is None or (shared is not None and Path(shared) != root):
        return root
    parts = (getattr(logger, "name", None), getattr(logger, "version", None))
    return root.joinpath(*(str(part) for part in parts if part not in (None, "")))


def _is_last_validation(trainer: Trainer) -> bool:
    """Whether training ends before there could be another validation.

    Nobody knows before the end of a training pass that a callback stops after its validation, as EarlyStopping does.
    """
    passed, most_epochs, most_steps = trainer.current_epoch + 1, trainer.max_epochs or -1, trainer.max_steps
    loop = trainer.fit_loop
    if trainer.should_stop and passed >= (loop.min_epochs or 0) and trainer.global_step >= (loop.min_steps or 0):
        return True
    progress, batches = loop.epoch_loop.batch_progress, trainer.num_training_batches
    done = progress.current.ready
    every: Any = trainer.check_val_every_n_epoch  # None where an interval goes on from one epoch to the next
    interval: Any = trainer.val_check_batch  # type: ignore[attr-defined]
    if interval is None:  # validation goes by time
        return passed == most_epochs
    if batches == math.inf and progress.is_last_batch and passed + (every or 1) > most_epochs > 0:
        return True
    interval = min(interval, batches) if every else interval  # infinite where the data has no length
    again = every is None or done + interval <= batches
    ahead = interval if again else every * batches - done + interval  # batches, until the next one
    if not math.isfinite(ahead):
        return False
    if most_epochs > 0 and (most_epochs - trainer.current_epoch) * batches - done < ahead:
        return True
    # Steps in batches: gradients may be accumulated, or several optimizers step in each.
    return most_steps > 0 and (most_steps - trainer.global_step) * progress.total.ready < ahead * trainer.global_step


def _validates_again(trainer: Trainer) -> bool:
    """Whether there is another validation in this epoch, where that is known."""
    progress, batches = trainer.fit_loop.epoch_loop.batch_progress, trainer.num_training_batches
    interval = trainer.val_check_batch  # type: ignore[attr-defined]  # None where validation goes by time
    return interval is not None and batches != math.inf and progress.current.ready + interval <= batches
