"""W-MSE: whitening for self-supervised representation learning."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import below_one, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import w_mse
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import OptimizerCallable

__all__ = ["WMSE"]


class WMSE(SSLModule):
    r"""W-MSE: views agree after the embeddings were whitened, which no collapsed embedding survives.

    The loss is that of :func:`sslbolts.losses.w_mse`, over all pairs of two or more views (the paper has two and four:
    ``views="wmse"`` and ``views="wmse4"``). Every rank whitens groups of its own images, the same groups in all views.
    The backbone sees each view alone, so that its batch norms have statistics of every view; the projector takes all
    views in one call, and its batch norm has those of all of them together, as in the official code.

    Images come shuffled, so the first partition into groups takes them as they come; each further iteration shuffles
    them again. A batch per device must be a multiple of ``group_size``, and a group larger than ``output_dim``.

    Args:
        backbone: see :class:`SSLModule`.
        hidden_dim: width of the projector's hidden layer.
        output_dim: width of the embeddings; 64 on CIFAR, 128 on ImageNet-100.
        group_size: images that are whitened together; None is twice the width, as in the paper.
        iterations: partitions into groups that the loss is averaged over; 1, or 4 for STL-10 and Tiny ImageNet.
        eps: shrinks covariances to the identity; more than 0 if they become singular.
        optimizer: Adam on all parameters alike, biases and norms included, as in the official code for CIFAR-10; 2e-3
            for STL-10 and Tiny ImageNet.
        milestones: parts of the run at which the learning rate, constant after the warm-up, is divided by 5: 50 and 25
            epochs before the end, here of 1000; ``()`` for a cosine.
        lr_scaling: the learning rate is the paper's whatever the batch.
        warmup_epochs: 500 steps in the official code, 5.155 epochs on CIFAR-10 at batch 512.
        final_lr: see :class:`SSLModule`; of a cosine only.
        network: see :class:`NetworkArguments`.

    Raises:
        UsageError: for a value out of its range.

    Source: Ermolov et al., Whitening for Self-Supervised Representation Learning, ICML 2021, arXiv:2007.06346.

    Example:
        >>> method = WMSE("resnet18", stem="cifar")
        >>> method.group_size
        128
    """

    starts_at_identity = False
    num_views = None
    decay_vectors = True
    milestone_factor = 0.2
    warmup_lead = 1
    indicators = (
        Indicator(
            metric="train/dimensions",
            below=1.5,
            meaning="the embeddings lie nearly on a line: whitening blows up noise",
            fixes=("eps > 0", "a larger group_size", "a lower learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 1024,
        output_dim: int = 64,
        group_size: int | None = None,
        iterations: int = 1,
        eps: float = 0.0,
        milestones: Sequence[float] = (0.95, 0.975),
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=3e-3, weight_decay=1e-6),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 5.155,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, output_dim=output_dim, iterations=iterations)
        whole(2, group_size=group_size)
        below_one(eps=eps)
        group_size = 2 * output_dim if group_size is None else group_size
        if group_size <= output_dim and eps == 0:
            raise UsageError(
                f"group_size={group_size} images cannot be whitened in output_dim={output_dim} dimensions: give a "
                f"group_size above the width (better {2 * output_dim}), a smaller output_dim, or eps > 0."
            )
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.group_size = group_size
        self.iterations = iterations
        self.eps = eps
        self.projector = mlp(self.num_features, hidden_dim, output_dim)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = len(batch.targets)
        h = torch.cat([self.backbone(x) for x in batch.views])  # (V * B, num_features)
        views = self.projector(h).chunk(len(batch.views))  # (B, output_dim) each
        shuffled = [torch.randperm(images, device=self.device) for _ in range(self.iterations - 1)]
        orders = torch.stack([torch.arange(images, device=self.device), *shuffled])  # the same for all views
        loss = w_mse(views, orders, group_size=self.group_size, eps=self.eps)
        self.log("train/loss", loss, prog_bar=True, batch_size=images)
        self.log("train/dimensions", _dimensions(views[0]), batch_size=images)
        return loss


@torch.no_grad()
@full_precision
def _dimensions(z: Tensor) -> Tensor:
    """Number of dimensions over which the variance spreads: the participation ratio `(Σλ)² / Σλ²` of the covariance."""
    z = z - z.mean(0)
    covariance = z.T @ z
    return covariance.trace().square() / covariance.square().sum()
