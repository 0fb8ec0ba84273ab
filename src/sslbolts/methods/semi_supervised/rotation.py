"""The task of S4L beside the classes: by which of four quarters an image is turned."""

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.losses import mean_of_two_cross_entropies
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.transforms.rotations import ANGLES, rotate, rotation_labels, rotations

__all__ = ["JointRotation"]


class JointRotation(PretextModule):
    r"""The rotation task of S4L: each of an image's four rotations is recognized, of labeled and unlabeled images.

    .. math:: \tfrac12 \big( \mathrm{CE}_u + \mathrm{CE}_l \big)

    the mean of two means, whatever the numbers of labeled and unlabeled images. It is made for
    :class:`~sslbolts.SemiSupervised`, which has the class head.

    Args:
        optimizer: of a run of its own.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`~sslbolts.SSLModule`.

    Raises:
        UsageError: for a value out of its range, or a layer that the backbone does not have.

    Source: Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670, section 3.1.

    Example:
        >>> JointRotation("resnet10t", stem="cifar").rotation_head
        Linear(in_features=512, out_features=4, bias=True)
    """

    starts_at_identity = False
    decay_vectors = True

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-3),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 5.0,
        final_lr: float = 0.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.rotation_head = nn.Linear(self.num_features, 4)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        # Rotations follow each other as views do, so that probes and the class head know whose rows are whose.
        logits = self.rotation_head(self.backbone(rotations(images, image_major=False)))  # (4 B, 4)
        labels = rotation_labels(len(images), image_major=False, device=images.device)
        labeled = (batch.targets >= 0).repeat(4)
        loss = mean_of_two_cross_entropies(logits, labels, labeled)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        right = (logits.detach().argmax(1) == labels).float().mean()
        self.log_matching(right, of=4, batch_size=len(images), name="train/rotation_accuracy")
        return loss

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The four rotations of each image."""
        return [Shown(rotate(images, quarters), [f"{angle}°"] * len(images)) for quarters, angle in enumerate(ANGLES)]
