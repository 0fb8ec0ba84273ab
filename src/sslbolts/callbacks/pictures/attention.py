"""The attention of a vision transformer, drawn at validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.callbacks.pictures.shared.first_images import FirstImages
from sslbolts.callbacks.pictures.shared.images import look_of
from sslbolts.checks import fraction
from sslbolts.networks.attention import attending, class_attention, find_attention
from sslbolts.networks.taps import find_layer
from sslbolts.pictures.attention import draw_attention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttentionMaps"]


class AttentionMaps(FirstImages):
    """Draws what the class token attends to in the last layer: a map for each head, and the patches that hold 60 %.

    Without a class token it is what the attention pooling attends to, or the average patch; the title says it.

    Works with any timm or torchvision vision transformer in any module, also where fused attention hides the map.
    Weights, hooks and random states stay as they are.

    Args:
        network: name of the submodule that is the transformer; None is ``backbone`` if there is one, else the module.
        images: the first so many of the validation images, 1 to 32.
        threshold: share of the attention in the mask, in [0, 1].
        class_names: None takes those of the DataModule.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/attention-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range; when the run starts, if the submodule is missing or has no attention.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> AttentionMaps(images=2, every_n_epochs=5).publisher.name
        'attention'
    """

    def __init__(
        self,
        network: str | None = None,
        images: int = 4,
        *,
        threshold: float = 0.6,
        class_names: Sequence[str] | None = None,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        fraction(threshold=threshold)
        super().__init__(
            "attention", images=images, class_names=class_names, every_n_epochs=every_n_epochs, folder=folder
        )
        self.network = network
        self.threshold = threshold

    def check(self, pl_module: LightningModule) -> None:
        find_attention(self._transformer(pl_module))

    def look(self, pl_module: LightningModule, images: Tensor) -> tuple[Tensor, str]:
        network = self._transformer(pl_module)
        return class_attention(network, images), attending(network)

    def draw(self, trainer: Trainer, images: Tensor, seen: Any, labels: list[str] | None) -> "Figure":
        maps, who = seen
        title = f"What {who} attends to after {self.publisher.passed(trainer)} epochs"
        return draw_attention(images, maps, threshold=self.threshold, title=title, labels=labels, **look_of(trainer))

    def _transformer(self, module: LightningModule) -> nn.Module:
        if self.network is None:
            backbone = getattr(module, "backbone", None)
            return backbone if isinstance(backbone, nn.Module) else module
        return find_layer(module, self.network, advice="AttentionMaps takes the transformer's name.")
