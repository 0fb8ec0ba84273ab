"""VICReg: variance-invariance-covariance regularization."""

from typing import Unpack, get_args

from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, one_of, whole
from sslbolts.health import Indicator
from sslbolts.losses.decorrelation import VICRegScaling, vicreg_terms
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["VICReg"]


class VICReg(SSLModule):
    """VICReg: views agree, every dimension of the embedding varies over the batch, and no two are correlated.

    The loss is that of :func:`sslbolts.losses.vicreg`; variances and covariances are those of the global batch, with
    exact gradient. Paper and official code weigh the terms differently under the same coefficients; the default is the
    code's. Embeddings are not normalized. Views have batch-norm statistics of their own.

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's (the paper's expander's) two hidden layers.
        output_dim: width `D` of the embeddings.
        invariance: weight of the mean squared distance between views.
        variance: weight of what the standard deviations lack to 1.
        covariance: weight of the squared covariances.
        scaling: "code", "listing" or "equation", see :func:`sslbolts.losses.vicreg`.
        optimizer: LARS as in the official code, for 1000 epochs at batch 2048; 0.3 for 100 epochs at 512.
        lr_scaling: see :class:`SSLModule`.
        warmup_epochs: see :class:`SSLModule`.
        final_lr: learning rate at the end, over the peak.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range.

    Source: Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
    ICLR 2022, arXiv:2105.04906.

    Example:
        >>> method = VICReg("resnet18", stem="cifar", hidden_dim=2048, output_dim=2048)
        >>> method.projector[-1].bias is None
        True
    """

    starts_at_identity = True
    indicators = (
        Indicator(
            metric="train/std",
            below=0.05,
            meaning="the embeddings of all images are nearly one point (their standard deviation should be about 1)",
            fixes=("a larger weight of the variance", "a lower learning rate or a longer warm-up"),
        ),
        Indicator(
            metric="train/variance",  # about 0.65 at first, and less after the warm-up
            above=0.9,
            meaning="most dimensions of the embeddings hardly vary over the batch",
            fixes=("a larger weight of the variance", "a smaller weight of the covariance", "a lower learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 8192,
        output_dim: int = 8192,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        scaling: VICRegScaling = "code",
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.2, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.001,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, output_dim=output_dim)
        at_least(0, invariance=invariance, variance=variance, covariance=covariance)
        one_of(get_args(VICRegScaling), scaling=scaling)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.weights = (invariance, variance, covariance)
        self.scaling: VICRegScaling = scaling
        self.projector = mlp(self.num_features, hidden_dim, hidden_dim, output_dim, last_bias=False)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = (self.projector(self.backbone(x)) for x in batch.views)  # (B, D) each
        terms = vicreg_terms(z1, z2, scaling=self.scaling)
        invariance, variance, covariance = self.weights
        loss = invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance
        self.log("train/loss", loss, prog_bar=True, batch_size=len(z1))
        for name, term in terms._asdict().items():
            self.log(f"train/{name}", term, batch_size=len(z1))
        self.log("train/std", z1.detach().float().std(0).mean(), batch_size=len(z1))
        return loss
