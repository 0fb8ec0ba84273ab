"""SimCLR: a simple framework for contrastive learning of visual representations."""

from typing import Any

from torch import Tensor

from sslbolts.backbones import BackboneLike
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.indicator import Indicator
from sslbolts.errors import UsageError
from sslbolts.heads import mlp
from sslbolts.losses import matching_accuracy, nt_xent
from sslbolts.methods.base import SSLModule
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["SimCLR"]


class SimCLR(SSLModule):
    """SimCLR: two views of one image agree, every other image of the global batch disagrees.

    Both views go through backbone and projector in one call and share their batch-norm statistics. The features for
    other tasks are the backbone's, not the projector's. Paper and code differ in the loss: see
    :func:`sslbolts.losses.nt_xent`.

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's hidden layer.
        output_dim: width of the embeddings.
        temperature: `τ`; 0.1 on ImageNet, 0.5 on CIFAR-10.
        optimizer: LARS with the learning rate inside the momentum, as in the official code.
        recipe: what :class:`SSLModule` takes besides.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709.

    Example:
        >>> method = SimCLR("resnet18", stem="cifar", temperature=0.5)
        >>> method.num_features
        512
    """

    indicators = (
        Indicator(
            metric="train/matching_accuracy",
            below=0.02,
            meaning="two views of one image are hardly ever each other's nearest: nothing is learned, or all "
            "embeddings are equal",
            fixes=("a lower learning rate or a longer warm-up", "a temperature in 0.1 to 0.5", "a larger batch"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        temperature: float = 0.1,
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.3, weight_decay=1e-6, lr_in_momentum=True),
        **recipe: Any,
    ) -> None:
        if temperature <= 0:
            raise UsageError(f"temperature={temperature}: it divides the similarities and must be positive.")
        super().__init__(backbone, optimizer=optimizer, **recipe)
        self.temperature = temperature
        self.projector = mlp(self.num_features, hidden_dim, output_dim, bias=False, last_bias=False, last_norm="scale")

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = self.projector(self.embed(batch.views)).chunk(2)  # (B, output_dim) each
        loss = nt_xent(z1, z2, temperature=self.temperature)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(z1))
        self.log("train/matching_accuracy", matching_accuracy(z1, z2), batch_size=len(z1))
        return loss
