"""SimSiam: exploring simple Siamese representation learning."""

from typing import Any, Unpack

from torch import Tensor, nn
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import whole
from sslbolts.health import spread
from sslbolts.losses import negative_cosine
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import OptimizerCallable

__all__ = ["SimSiam"]


class SimSiam(SSLModule):
    r"""SimSiam: each view predicts the other's embedding, which is taken as a constant; no negatives, no teacher.

    `L = D(p1, stopgrad z2) / 2 + D(p2, stopgrad z1) / 2` with `D` the negative cosine similarity, in [-1, 1]. Each view
    has batch-norm statistics of its own. Three things of the official code keep it from collapsing or make it train
    well: the embeddings end in a batch norm without scale and bias (the bias of the linear layer before it has no
    effect and is frozen), the predictor's learning rate is constant, and the residual branches of a ResNet start at
    zero. Weight decay is on all parameters.

    Args:
        projector_layers: linear layers of the projector; 3 on ImageNet, 2 on CIFAR-10.
        hidden_dim: width of the projector's hidden layers.
        output_dim: width `d` of the embeddings.
        predictor_dim: width of the predictor's hidden layer, its bottleneck.
        fix_predictor_lr: keep the predictor's learning rate constant.
        optimizer: SGD as in the paper, which has no warm-up.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range.

    Source: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566.

    Example:
        >>> method = SimSiam("resnet18", stem="cifar", projector_layers=2)
        >>> [group.get("fixed_lr", False) for group in method.parameter_groups()]
        [False, True]
    """

    starts_at_identity = True
    indicators = (
        spread(
            "a smaller learning rate",
            "fix_predictor_lr=True and zero_init_residual=True, which are the default",
            "batch norm in projector and predictor",
            below=0.2,
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        projector_layers: int = 3,
        hidden_dim: int = 2048,
        output_dim: int = 2048,
        predictor_dim: int = 512,
        fix_predictor_lr: bool = True,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(projector_layers=projector_layers, hidden_dim=hidden_dim, output_dim=output_dim)
        whole(predictor_dim=predictor_dim)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.fix_predictor_lr = fix_predictor_lr
        hidden = [hidden_dim] * (projector_layers - 1)
        self.projector = mlp(self.num_features, *hidden, output_dim, bias=False, last_norm="plain")
        linear = self.projector[-2]
        assert isinstance(linear, nn.Linear)
        linear.bias.requires_grad_(False)  # the batch norm after it takes the mean off again
        self.predictor = mlp(output_dim, predictor_dim, output_dim, bias=False)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        z1, z2 = self.projector(self.backbone(x1)), self.projector(self.backbone(x2))  # (B, output_dim) each
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        self.log_spread(z1)
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything with decay; the predictor apart, because its learning rate is constant."""
        predictor = list(self.predictor.parameters())
        apart = set(predictor)
        others = [p for p in self.parameters() if p.requires_grad and p not in apart]
        return [{"params": others}, {"params": predictor, "fixed_lr": self.fix_predictor_lr}]
