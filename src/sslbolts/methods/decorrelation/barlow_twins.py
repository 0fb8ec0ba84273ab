"""Barlow Twins: self-supervised learning via redundancy reduction."""

from typing import Unpack

from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, positive, whole
from sslbolts.health import Indicator
from sslbolts.losses.decorrelation import cross_correlation, redundancy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["BarlowTwins"]


class BarlowTwins(SSLModule):
    r"""Barlow Twins: a dimension of the embedding is correlated with itself in the other view, and with no other.

    The loss is that of :func:`sslbolts.losses.barlow_twins`, `Σ (1 - C_ii)² + λ Σ C_ij²`, with the cross-correlation
    `C` of the global batch and its exact gradient on any number of ranks. The official code leaves the gradient of the
    sum over ranks out and so has a fraction 1/W of it on W devices (32 in their run), which LARS nearly hides for
    weights but not for biases and norms: ``scale_loss=1/W`` reproduces their steps exactly. To divide
    ``bias_lr_scale`` by W is not the same, since a smaller gradient also leaves more to the decay of the weights. Views
    have batch-norm statistics of their own.

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's two hidden layers.
        output_dim: width `D` of the embeddings.
        lambd: `λ`, the weight of the off-diagonal terms; it should fall as `D` rises.
        scale_loss: factor on the loss: for one learning rate of biases and weights (0.024 to 0.1), for half precision,
            or for the steps of the official code on W devices (1/W).
        bias_lr_scale: learning rate of biases and norms over that of the weights (0.0048 over 0.2 in the paper).
        optimizer: LARS as in the official code.
        lr_scaling: see :class:`SSLModule`.
        warmup_epochs: see :class:`SSLModule`.
        final_lr: learning rate at the end, over the peak.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range.

    Source: Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021,
    arXiv:2103.03230.

    Example:
        >>> method = BarlowTwins("resnet18", stem="cifar", hidden_dim=2048, output_dim=2048)
        >>> [group.get("lr_scale", 1.0) for group in method.parameter_groups()]
        [1.0, 0.024]
    """

    starts_at_identity = True
    indicators = (
        Indicator(
            metric="train/diagonal",
            below=0.05,
            meaning="the embeddings of two views of one image are hardly correlated",
            fixes=("a lower learning rate or a longer warm-up", "a smaller lambd", "weaker augmentation"),
        ),
        Indicator(
            metric="train/off_diagonal",
            above=0.8,
            meaning="all dimensions of the embedding are correlated: collapse to one dimension",
            fixes=("a larger lambd", "a larger batch", "a lower learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 8192,
        output_dim: int = 8192,
        lambd: float = 0.0051,
        scale_loss: float = 1.0,
        bias_lr_scale: float = 0.024,
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.2, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.001,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(2, output_dim=output_dim)
        whole(hidden_dim=hidden_dim)
        at_least(0, lambd=lambd, bias_lr_scale=bias_lr_scale)
        positive(scale_loss=scale_loss)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.lambd = lambd
        self.scale_loss = scale_loss
        self.bias_lr_scale = bias_lr_scale
        self.projector = mlp(self.num_features, hidden_dim, hidden_dim, output_dim, bias=False, last_bias=False)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = (self.projector(self.backbone(x)) for x in batch.views)  # (B, D) each
        correlation = cross_correlation(z1, z2)  # (D, D), of the global batch
        loss = self.scale_loss * redundancy(correlation, self.lambd)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(z1))
        c = correlation.detach()
        self.log("train/diagonal", c.diagonal().mean(), batch_size=len(z1))
        off_diagonal = (c.abs().sum() - c.diagonal().abs().sum()) / (len(c) * (len(c) - 1))
        self.log("train/off_diagonal", off_diagonal, batch_size=len(z1))
        return loss
