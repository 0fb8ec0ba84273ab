"""A method as a user writes it: variance, invariance and covariance in forty lines, outside of the package."""

from typing import Any

import torch
from torch import Tensor, nn

from sslbolts import SSLModule
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import EMATeacher
from sslbolts.distributed import gather
from sslbolts.losses.precision import full_precision
from sslbolts.networks.heads import mlp
from sslbolts.networks.teacher import Teacher


@full_precision
def _spread_and_redundancy(z: Tensor) -> Tensor:
    z = z - z.mean(0)
    spread = (1 - (z.var(0) + 1e-4).sqrt()).relu().mean()
    covariance = z.T @ z / (len(z) - 1)
    return spread + (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class ToyVICReg(SSLModule):
    """Views agree, dimensions vary and are not redundant; a teacher and a counter are along for the ride."""

    def __init__(
        self, backbone: Any = "resnet50", *, expander_dims: tuple[int, ...] = (8192, 8192), **arguments: Any
    ) -> None:
        super().__init__(backbone, **arguments)
        self.expander = mlp(self.num_features, *expander_dims)
        self.teacher = Teacher(self.backbone, self.expander)
        self.register_buffer("mean_embedding", torch.zeros(expander_dims[-1]))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = self.expander(self.embed(batch.views)).chunk(2)
        agreement = (z1 - z2).square().mean()  # DDP averages it
        loss = agreement + _spread_and_redundancy(gather(z1)) + _spread_and_redundancy(gather(z2))
        self.pending = gather(z1.detach()).mean(0).to(self.mean_embedding.dtype)
        self.log("train/loss", loss, batch_size=len(z1))
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.mean_embedding.lerp_(self.pending, 0.1)

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.backbone, self.teacher.backbone), (self.expander, self.teacher.projector)]

    def configure_callbacks(self) -> list[Callback]:
        return [EMATeacher(0.9)]
