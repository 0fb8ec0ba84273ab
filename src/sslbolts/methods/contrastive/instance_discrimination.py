"""Instance discrimination: every image is a class of its own (NPID)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from sslbolts._lightning import Trainer
from sslbolts.batch import ViewBatch
from sslbolts.distributed import all_sum, gather, rank, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import instance_nce, instance_softmax
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import SSLModule
from sslbolts.methods.training_features import number_of_training_images
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import OptimizerCallable, warmup_steps
from sslbolts.training.memory import Memory
from sslbolts.training.seeds import generator

__all__ = ["InstanceBank", "InstanceDiscrimination"]


class InstanceDiscrimination(SSLModule):
    """Instance discrimination: recognise each image among all others by a memory of its former embeddings.

    One view per image. Its embedding is compared with the memory of all training images, and after the optimizer step
    its row of the memory moves half of the way to it: `m ← normalize(½ m + ½ v)`. With ``num_negatives`` images drawn
    (uniformly, with replacement, the image itself not excluded) the loss is noise-contrastive estimation, whose
    constant `Z` is estimated from the first step and kept; with None it is the softmax over all images, which suits
    sets of some ten thousand. The paper's proximal term is not in its code, and not here.

    The memory is in the checkpoint. A run that is resumed needs the same images in the same order.

    Args:
        backbone: see :class:`SSLModule`.
        output_dim: width of the embeddings.
        num_negatives: images drawn per image; None for all of them, the full softmax.
        temperature: `τ`; 0.07 on ImageNet, 0.1 on CIFAR-10.
        memory_momentum: part of an image's row that stays.
        num_images: training images, rows of the memory; None takes the length of the training set.
        milestones: parts of the run at which the learning rate is divided by 10; none for a cosine.
        optimizer: SGD, with decay of all parameters.
        warmup_epochs: see :class:`SSLModule`.
        recipe: what :class:`SSLModule` takes besides.

    Raises:
        UsageError: for a value out of its range; when training starts, if the training set has no length, or more
            images than the memory has rows.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    arXiv:1805.01978.

    Example:
        >>> method = InstanceDiscrimination("resnet18", stem="cifar", num_negatives=None, num_images=50000)
        >>> method.bank.rows.shape
        torch.Size([50000, 128])
    """

    num_views = 1
    own_statistics_from = 1  # as in the official code
    decay_vectors = True
    indicators = (
        Indicator(
            metric="train/contrast",
            below=0.02,
            meaning="an image is no more like its own row of the memory than like the others': nothing is learned, or "
            "all embeddings are equal",
            fixes=("a lower learning rate", "a temperature in 0.05 to 0.2", "more epochs: a row changes once in each"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        output_dim: int = 128,
        num_negatives: int | None = 4096,
        temperature: float = 0.07,
        memory_momentum: float = 0.5,
        num_images: int | None = None,
        milestones: Sequence[float] = (0.6, 0.8),
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-4),
        warmup_epochs: float = 0.0,
        **recipe: Any,
    ) -> None:
        if temperature <= 0:
            raise UsageError(f"temperature={temperature}: it divides the similarities and must be positive.")
        if num_negatives is not None and num_negatives < 1:
            raise UsageError(f"num_negatives={num_negatives}: draw at least one, or pass None for all images.")
        if not 0 <= memory_momentum < 1:
            raise UsageError(f"memory_momentum={memory_momentum}: it must be in [0, 1).")
        if not all(0 < milestone < 1 for milestone in milestones):
            raise UsageError(f"milestones={tuple(milestones)}: they are parts of the run, between 0 and 1.")
        super().__init__(backbone, optimizer=optimizer, warmup_epochs=warmup_epochs, **recipe)
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.milestones = tuple(milestones)
        self.projector = mlp(self.num_features, output_dim)
        self.bank = InstanceBank(num_images or 0, output_dim, momentum=memory_momentum)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        (x,) = batch.views
        v = F.normalize(self.projector(self.backbone(x)), dim=1)  # (B, output_dim)
        if self.num_negatives is None:
            loss = instance_softmax(v, self.bank.rows, batch.indices, temperature=self.temperature)
            self.bank.stage(v, batch.indices)
        else:
            drawn = torch.cat([batch.indices[:, None], self._draw(batch, batch_idx)], 1)  # (B, 1 + num_negatives)
            entries = self.bank.rows[drawn]
            normalizer, estimates = self.bank.normalizer_of(v, entries, temperature=self.temperature)
            loss = instance_nce(
                v, entries, temperature=self.temperature, normalizer=normalizer, num_images=len(self.bank.rows)
            )
            self.bank.stage(v, batch.indices, estimates)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x))
        likeness = F.cosine_similarity(v.detach(), self.bank.rows[batch.indices], dim=1).mean()
        self.log("train/likeness", likeness, batch_size=len(x))
        if self.current_epoch > 0:  # before, the memory is noise
            others = (v.detach() @ self.bank.rows.mean(0).to(v.dtype)).mean()
            self.log("train/contrast", likeness - others, batch_size=len(x))
        return loss

    def _draw(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """This rank's rows of a table that all ranks draw equally, so that the result is that of one process."""
        images, device = len(batch.indices), batch.indices.device
        table = torch.randint(
            len(self.bank.rows),
            (world_size() * images, self.num_negatives or 0),
            generator=generator(self._seed, self.current_epoch, batch_idx, device=device),
            device=device,
        )
        return table[rank() * images : (rank() + 1) * images]

    def lr_factor(self, step: int, *, total: int, warmup: int) -> float:
        if self.milestones:
            return warmup_steps(step, total=total, warmup=warmup, milestones=self.milestones)
        return super().lr_factor(step, total=total, warmup=warmup)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            images = _images_or_none(self.trainer)
            if len(self.bank.rows) == 0:
                if images is None:
                    raise UsageError(
                        "the number of training images cannot be read from the training loader: pass num_images=, one "
                        "more than the greatest of the batches' indices."
                    )
                self.bank.resize(images)
            if images is not None and images > len(self.bank.rows):
                raise UsageError(
                    f"there are {images} training images, but the memory has {len(self.bank.rows)} rows: pass "
                    f"num_images={images}, or leave it out."
                )
        super().setup(stage)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        rows = checkpoint.get("state_dict", {}).get("bank.rows")
        if rows is not None and len(self.bank.rows) == 0:  # this module does not know its images yet
            self.bank.resize(len(rows))
        super().on_load_checkpoint(checkpoint)


class InstanceBank(Memory):
    """One row for each image, and the constant `Z` of noise-contrastive estimation.

    Rows start uniform in `±√(3/D)`, of unit length in expectation, as in the published code.

    Args:
        num_images: `n` rows; 0 until :meth:`resize`.
        dim: their width `D`.
        momentum: part of a row that stays when its image comes.

    Attributes:
        rows: ``(n, D)``.
        normalizer: `Z`; 0 before the first step.

    Example:
        >>> bank = InstanceBank(3, 2)
        >>> bank.stage(torch.tensor([[1.0, 0.0]]), torch.tensor([2]))
        >>> bank.commit()
        >>> round(bank.rows[2].norm().item(), 4)
        1.0
    """

    rows: Tensor
    normalizer: Tensor

    def __init__(self, num_images: int, dim: int, *, momentum: float = 0.5) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", torch.empty(0, dim))
        self.register_buffer("normalizer", torch.zeros(()))
        self.resize(num_images)

    def resize(self, num_images: int) -> None:
        """Start over with ``num_images`` random rows, which depend on the seed alone."""
        bound = (3 / self.rows.shape[1]) ** 0.5
        rows = torch.empty(num_images, self.rows.shape[1], device="cpu")
        self.rows = rows.uniform_(-bound, bound, generator=generator(torch.initial_seed())).to(self.rows)

    def normalizer_of(self, v: Tensor, entries: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
        """`Z`, or its estimate from these rows of all ranks as long as there is none, and each row's estimate.

        Args:
            v: ``(B, D)``.
            entries: ``(B, K, D)`` of the memory.
            temperature: `τ`.
        """
        estimates = len(self.rows) * _mean_exponential(v.detach(), entries, temperature)  # (B,)
        estimate = all_sum(estimates.mean()) / world_size()
        return torch.where(self.normalizer > 0, self.normalizer, estimate), estimates

    def update(self, v: Tensor, indices: Tensor, estimates: Tensor | None = None) -> None:
        v, indices = gather(v).to(self.rows.dtype), gather(indices)
        # An image that came twice writes one and the same row twice, so that all ranks end up with the same.
        again = (indices[:, None] == indices).to(v.dtype)
        v = again @ v / again.sum(1, keepdim=True)
        moved = self.momentum * self.rows[indices] + (1 - self.momentum) * v
        self.rows.index_copy_(0, indices, F.normalize(moved, dim=1))
        if estimates is not None:
            first = gather(estimates).mean().to(self.normalizer.dtype)
            self.normalizer.copy_(torch.where(self.normalizer > 0, self.normalizer, first))


@full_precision
def _mean_exponential(v: Tensor, entries: Tensor, temperature: float) -> Tensor:
    return (torch.einsum("bd,bkd->bk", v, entries) / temperature).exp().mean(1)


def _images_or_none(trainer: Trainer) -> int | None:
    """None where the training loader cannot tell."""
    try:
        return number_of_training_images(trainer)
    except UsageError:
        return None
