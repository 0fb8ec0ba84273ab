"""The smallest method: what SSLModule gives, tested without a paper."""

from torch import Tensor

from sslbolts import SSLModule
from sslbolts.batch import ViewBatch
from sslbolts.losses import negative_cosine


class Toy(SSLModule):
    """Two views have one direction."""

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        z1, z2 = self.embed(batch.views).chunk(2)
        loss = negative_cosine(z1, z2)
        self.log("train/loss", loss, batch_size=len(z1))
        return loss
