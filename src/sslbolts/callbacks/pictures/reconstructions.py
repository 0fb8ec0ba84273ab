"""Inputs and outputs of a generative method, drawn at validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.callbacks.pictures.shared.first_images import FirstImages
from sslbolts.callbacks.pictures.shared.images import displayable, look_of
from sslbolts.errors import UsageError
from sslbolts.pictures.reconstructions import draw_reconstructions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Reconstructions"]


class Reconstructions(FirstImages):
    """Draws what a generative module was shown, what it made of it, and the image.

    Works on any module with a method ``reconstruct(images) -> (input shown, output)``, images as validation batches
    have them, ``(N, C, H, W)`` all three. It is called in eval mode, and may draw at random: it draws the same at every
    epoch, and random states come back.

    Args:
        images: the first so many of the validation images, 1 to 32.
        class_names: None takes those of the DataModule.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/reconstructions-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range; when the run starts, if the module has no ``reconstruct``.

    Example:
        >>> Reconstructions(images=6).publisher.name
        'reconstructions'
    """

    def __init__(
        self,
        images: int = 8,
        *,
        class_names: Sequence[str] | None = None,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        super().__init__(
            "reconstructions", images=images, class_names=class_names, every_n_epochs=every_n_epochs, folder=folder
        )

    def check(self, pl_module: LightningModule) -> None:
        if not callable(getattr(pl_module, "reconstruct", None)):
            raise UsageError(
                f"{type(pl_module).__name__} has no reconstruct(images) -> (input shown, output) for Reconstructions "
                "to draw: add it, or leave the callback out."
            )

    def look(self, pl_module: LightningModule, images: Tensor) -> tuple[Tensor, Tensor]:
        reconstruct: Any = pl_module.reconstruct
        shown, output = reconstruct(images)
        return shown, output

    def draw(self, trainer: Trainer, images: Tensor, seen: Any, labels: list[str] | None) -> "Figure":
        shown, output = (displayable(x, trainer.datamodule) for x in seen)  # type: ignore[attr-defined]
        title = f"Reconstructions after {self.publisher.passed(trainer)} epochs"
        return draw_reconstructions(images, shown, output, title=title, labels=labels, **look_of(trainer))
