"""BYOL: bootstrap your own latent."""

from typing import Unpack

from torch import Tensor

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.checks import fraction, whole
from sslbolts.health import spread
from sslbolts.losses import byol_regression
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["BYOL"]


class BYOL(SSLModule):
    """BYOL: a student predicts what its own moving average says of another view; no image is pushed away.

    Each view has batch-norm statistics of its own, in the student and in the teacher. The teacher's parameters are
    averaged after every optimizer step, its batch-norm buffers are not. The loss is the sum of both directions, as in
    the paper, in 0 to 8. In the official code the teacher starts from a seed of its own; here it starts as a copy.

    Args:
        hidden_dim: width of the hidden layers of projector and predictor.
        output_dim: width of the embeddings.
        momentum: of the teacher at the beginning (0.996 for 1000 epochs, 0.99 for 300 and 100); it rises to 1.
        optimizer: LARS as in the official code.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range.

    Source: Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020,
    arXiv:2006.07733.

    Example:
        >>> method = BYOL("resnet18", stem="cifar", hidden_dim=1024)
        >>> len(method.ema_pairs()), any(p.requires_grad for p in method.teacher.parameters())
        (2, False)
    """

    starts_at_identity = True
    indicators = (
        spread(
            "a smaller learning rate or a longer warm-up",
            "a higher momentum of the teacher, or a lower one in short runs",
            "no weight decay on biases and norms",
            below=0.1,
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        momentum: float = 0.996,
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.2, weight_decay=1.5e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, output_dim=output_dim)
        fraction(momentum=momentum)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.momentum = momentum
        self.projector = mlp(self.num_features, hidden_dim, output_dim, last_bias=False)
        self.predictor = mlp(output_dim, hidden_dim, output_dim, last_bias=False)
        self.teacher = Teacher(self.backbone, self.projector)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        z1, z2 = self.projector(self.backbone(x1)), self.projector(self.backbone(x2))  # (B, output_dim) each
        p1, p2 = self.predictor(z1), self.predictor(z2)
        t1, t2 = self.teacher(x1), self.teacher(x2)  # in this order, which its running statistics remember
        loss = byol_regression(p1, t2) + byol_regression(p2, t1)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        self.log_spread(z1)
        return loss

    def configure_callbacks(self) -> list[Callback]:
        return [EMATeacher(self.momentum)]
