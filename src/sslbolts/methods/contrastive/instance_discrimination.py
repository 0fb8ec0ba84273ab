"""Instance discrimination: every image is a class of its own (NPID)."""

from collections.abc import Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import below_one, positive, whole
from sslbolts.distributed import all_sum, gather, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import instance_nce, instance_softmax
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.training_features import number_of_training_images
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.heads import mlp
from sslbolts.optim import OptimizerCallable
from sslbolts.training.resized import ImageMemory, mean_of_same_image
from sslbolts.training.rows import refuse_stream
from sslbolts.training.seeds import generator
from sslbolts.training.shared_draws import integers

__all__ = ["InstanceBank", "InstanceDiscrimination"]


class InstanceDiscrimination(SSLModule):
    """Instance discrimination: recognize each image among all others by a memory of its former embeddings.

    One view per image. Its embedding is compared with the memory of all training images, and after the optimizer step
    its row of the memory moves half of the way to it: `m ← normalize(½ m + ½ v)`. With ``num_negatives`` images drawn
    (uniformly, with replacement, the image itself not excluded) the loss is noise-contrastive estimation, whose
    constant `Z` is estimated from the first step and kept; with None it is the softmax over all images, which suits
    sets of some ten thousand. The paper's proximal term is not in its code, and not here.

    The memory is in the checkpoint. A run that is resumed needs the same images in the same order.

    Args:
        output_dim: width of the embeddings.
        num_negatives: images drawn per image; None for all of them, the full softmax.
        temperature: `τ`; 0.07 on ImageNet, 0.1 on CIFAR-10.
        memory_momentum: part of an image's row that stays.
        num_images: training images, rows of the memory; None takes the length of the training set.
        milestones: parts of the run at which the learning rate is divided by 10; none for a cosine.
        optimizer: SGD, with decay of all parameters.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

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

    starts_at_identity = False
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
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(output_dim=output_dim, num_negatives=num_negatives, num_images=num_images)
        positive(temperature=temperature)
        below_one(memory_momentum=memory_momentum)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.projector = mlp(self.num_features, output_dim)
        self.bank = InstanceBank(num_images or 0, output_dim, momentum=memory_momentum)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        (x,) = batch.views
        v = F.normalize(self.projector(self.backbone(x)), dim=1)  # (B, output_dim)
        if self.num_negatives is None:
            loss = instance_softmax(v, self.bank.rows, batch.indices, temperature=self.temperature)
            self.bank.stage(v, batch.indices)
        else:
            n = len(self.bank.rows)
            drawn = integers(len(x), self.num_negatives, below=n, generator=self.generator(batch_idx, device=v.device))
            entries = self.bank.rows[torch.cat([batch.indices[:, None], drawn], 1)]  # (B, 1 + num_negatives, D)
            z, estimates = self.bank.normalizer_of(v, entries, temperature=self.temperature)
            loss = instance_nce(v, entries, temperature=self.temperature, normalizer=z, num_images=n)
            self.bank.stage(v, batch.indices, estimates)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x))
        likeness = F.cosine_similarity(v.detach(), self.bank.rows[batch.indices], dim=1).mean()
        self.log("train/likeness", likeness, batch_size=len(x))
        if self.epochs_done > 0:  # before, the memory is noise
            others = (v.detach() @ self.bank.rows.mean(0).to(v.dtype)).mean()
            self.log("train/contrast", likeness - others, batch_size=len(x))
        return loss

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self._make_room()
        super().setup(stage)

    def _make_room(self) -> None:
        refuse_stream(self.trainer.datamodule, type(self).__name__)  # type: ignore[attr-defined]
        try:
            images = number_of_training_images(self.trainer)
        except UsageError as error:  # the loader cannot tell
            if self.bank.num_images == 0:
                raise UsageError(
                    "the number of training images cannot be read from the training loader: pass num_images=, one "
                    "more than the greatest of the batches' indices."
                ) from error
            return
        if self.bank.num_images == 0:
            self.bank.resize(images)
        if images > self.bank.num_images:
            given = self.hparams["num_images"] is not None
            advice = f"pass num_images={images}, or leave it out" if given else "make a new one around its backbone"
            earlier = "" if given else ", those of the images that this method was trained on"
            rows = f"{self.bank.num_images} rows{earlier}"
            raise UsageError(f"there are {images} training images, but the memory has {rows}: {advice}.")


class InstanceBank(ImageMemory):
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
        moved = self.momentum * self.rows[indices] + (1 - self.momentum) * mean_of_same_image(v, indices)
        self.rows.index_copy_(0, indices, F.normalize(moved, dim=1))
        if estimates is not None:
            first = gather(estimates).mean().to(self.normalizer.dtype)
            self.normalizer.copy_(torch.where(self.normalizer > 0, self.normalizer, first))


@full_precision
def _mean_exponential(v: Tensor, entries: Tensor, temperature: float) -> Tensor:
    return (torch.einsum("bd,bkd->bk", v, entries) / temperature).exp().mean(1)
