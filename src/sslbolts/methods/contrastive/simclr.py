"""SimCLR: a simple framework for contrastive learning of visual representations."""

import math
from typing import Literal, Unpack, get_args

from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import one_of, positive, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import accuracy_over_chance, loss_of_chance
from sslbolts.losses import margin_triplet, matching_accuracy, nt_logistic, nt_xent
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["Objective", "SimCLR"]

Objective = Literal["nt_xent", "nt_logistic", "margin_triplet"]
"""The losses that the paper compares in its tables 2 and 4."""

_FIXES = ("a lower learning rate or a longer warm-up", "a temperature in 0.1 to 0.5", "a larger batch")


class SimCLR(SSLModule):
    """SimCLR: two views of one image agree, every other image of the global batch disagrees.

    Both views go through backbone and projector in one call and share their batch-norm statistics. The features for
    other tasks are the backbone's, not the projector's. The official code's loss is twice the paper's, in all published
    runs: ``scale_loss=2``. LARS takes the factor out of the steps of weights, whose decay then counts half, but not of
    biases and norms, which move twice as far. The projector has two layers as in the paper; the official code's default
    came to be three, with a hidden layer as wide as the features. Its weights start at a standard deviation of 0.01,
    here at torch's; with batch norm behind them and LARS, their scale has next to no effect. Where the paper scales the
    learning rate by the square root of the batch size, `0.075 sqrt(B)`, give ``lr_scaling="sqrt"`` with an optimizer of
    ``lr=1.2``.

    The paper's other objectives are here to be compared with it. Table 4 has 63.9 for NT-Xent, 57.9 and 51.6 for
    NT-Logistic with and without semi-hard negatives, 57.5 and 50.9 for the margin triplet loss. How an anchor's many
    negatives are weighted against its positive the paper does not say; here they are averaged. A semi-hard one is the
    nearest negative that is farther than the positive: see :func:`sslbolts.losses.nt_logistic`.

    Args:
        hidden_dim: width of the projector's hidden layer.
        output_dim: width of the embeddings.
        temperature: `τ`; 0.1 on ImageNet, 0.5 on CIFAR-10. Not of the margin triplet loss.
        objective: "nt_xent", "nt_logistic" or "margin_triplet".
        semi_hard: one semi-hard negative per anchor, in place of all.
        margin: of the margin triplet loss alone, in cosine.
        scale_loss: factor on the loss; 2 is the official code's.
        optimizer: LARS with the learning rate inside the momentum, as in the official code.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or one that the objective does not use.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
    arXiv:2002.05709.

    Example:
        >>> method = SimCLR("resnet18", stem="cifar", temperature=0.5)
        >>> method.num_features
        512
    """

    starts_at_identity = True
    indicators = (
        accuracy_over_chance("two views of one image are each other's nearest", *_FIXES),
        loss_of_chance("guessing among all other embeddings of the batch", *_FIXES),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        temperature: float = 0.1,
        objective: Objective = "nt_xent",
        semi_hard: bool = False,
        margin: float = 0.5,
        scale_loss: float = 1.0,
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.3, weight_decay=1e-6, lr_in_momentum=True),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, output_dim=output_dim)
        positive(temperature=temperature, margin=margin, scale_loss=scale_loss)
        one_of(get_args(Objective), objective=objective)
        unused = ("temperature", temperature, 0.1) if objective == "margin_triplet" else ("margin", margin, 0.5)
        if unused[1] != unused[2]:
            raise UsageError(f'{unused[0]}={unused[1]} has no effect with objective="{objective}": leave it out.')
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.temperature = temperature
        self.objective = objective
        self.semi_hard = semi_hard
        self.margin = margin
        self.scale_loss = scale_loss
        self.projector = mlp(self.num_features, hidden_dim, output_dim, bias=False, last_bias=False, last_norm="scale")

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = self.projector(self.embed(batch.views)).chunk(2)  # (B, output_dim) each
        contrast = self.contrast(z1, z2)
        loss = self.scale_loss * contrast
        self.log("train/loss", loss, prog_bar=True, batch_size=len(z1))
        self.log_matching(matching_accuracy(z1, z2), of=len(z1), batch_size=len(z1))
        if self.objective == "nt_xent" and not self.semi_hard:
            chance = math.log(2 * len(z1) * world_size() - 1)
            self.log("train/loss_of_chance", contrast.detach() / chance, batch_size=len(z1))
        return loss

    def contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The objective on embeddings ``(B, output_dim)`` of the two views."""
        if self.objective == "nt_xent":
            return nt_xent(z1, z2, self.temperature, semi_hard=self.semi_hard)
        if self.objective == "nt_logistic":
            return nt_logistic(z1, z2, self.temperature, negatives="semi_hard" if self.semi_hard else "mean")
        return margin_triplet(z1, z2, self.margin, negatives="semi_hard" if self.semi_hard else "mean")
