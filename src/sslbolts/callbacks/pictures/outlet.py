"""When a picture is drawn, and where it goes."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sslbolts._lightning import Trainer
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Outlet"]


class Outlet:
    """Sends a figure to the Trainer's loggers that take pictures, and to ``FOLDER/pictures/NAME-epoch0010.png``.

    TensorBoard loggers get it by ``add_image``, others that have ``log_image`` (Weights & Biases) by that. What draws
    is only called on rank 0.

    Args:
        name: of the picture: the tag in loggers is ``pictures/NAME``.
        every_n_epochs: drawn when so many epochs are over, and after the last; always in ``validate`` and ``test``.
        folder: None is the folder of the first logger, or the Trainer's ``default_root_dir``.

    Raises:
        UsageError: for fewer than one epoch.

    Example:
        >>> Outlet("neighbours", every_n_epochs=5).name
        'neighbours'
    """

    def __init__(self, name: str, *, every_n_epochs: int = 1, folder: str | Path | None = None) -> None:
        if every_n_epochs < 1:
            raise UsageError(f"every_n_epochs={every_n_epochs}: it is at least 1.")
        self.name = name
        self.every_n_epochs = every_n_epochs
        self.folder = folder

    def due(self, trainer: Trainer) -> bool:
        """Whether this epoch ends with a picture, and this validation is its last."""
        if trainer.state.fn != "fit":
            return True
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        until_next = trainer.val_check_batch  # type: ignore[attr-defined]  # None where validation goes by time
        if until_next is not None and done + until_next <= trainer.num_training_batches:
            return False
        passed = self.passed(trainer)
        return passed % self.every_n_epochs == 0 or passed == trainer.max_epochs

    def path(self, trainer: Trainer) -> Path:
        """The file of this epoch. All ranks must call it: the loggers tell each other the folder."""
        folder = self.folder or trainer.log_dir or trainer.default_root_dir
        stage = "" if trainer.state.fn in ("fit", None) else f"{trainer.state.fn.value}-"
        return Path(folder) / "pictures" / f"{stage}{self.name}-epoch{self.passed(trainer):04d}.png"

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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.getvalue())
        tag = f"pictures/{self.name}"
        for logger in trainer.loggers:
            # Only TensorBoard's experiment is looked at: asking others for theirs may start a connection.
            if type(logger).__name__ == "TensorBoardLogger":
                import numpy as np

                pixels = np.asarray(Image.open(png).convert("RGB"))
                logger.experiment.add_image(tag, pixels, trainer.global_step, dataformats="HWC")  # type: ignore[attr-defined]
            elif callable(log_image := getattr(logger, "log_image", None)):
                log_image(key=tag, images=[Image.open(png).convert("RGB")], step=trainer.global_step)
