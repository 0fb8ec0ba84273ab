"""RotNet: unsupervised representation learning by predicting image rotations."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import positive
from sslbolts.health import Indicator
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.transforms.rotations import ANGLES, rotate, rotation_labels, rotations

__all__ = ["RotNet"]


class RotNet(PretextModule):
    """RotNet: tell by how many quarters an image is turned, for which its objects must be known.

    Every image is in the batch four times, turned counter-clockwise by 0, 90, 180 and 270 degrees, so that a step sees
    four times ``batch_size`` images. Turning moves pixels and makes none up. Crop and flip come before, once for all
    four: a flip after the rotation would make the labels 1 and 3 one, and 75 % the most that can be reached.

    The paper evaluates an earlier layer than the last, which knows of rotations most: the second block of its NIN on
    CIFAR-10 (``feature_layer="block2"``), conv2 to conv4 of AlexNet on ImageNet.

    Args:
        backbone: see :class:`~sslbolts.SSLModule`. The paper's are :class:`sslbolts.networks.nin.NIN` on CIFAR-10 and
            :class:`sslbolts.networks.alexnet.AlexNetBN` on ImageNet.
        milestones: parts of the run at which the learning rate is multiplied by ``milestone_factor``; none for a
            cosine. Epochs 60, 120 and 160 of 200 on CIFAR-10.
        milestone_factor: 0.2 on CIFAR-10, 0.1 on ImageNet.
        optimizer: SGD as in the official code on CIFAR-10 (0.1 for its 128 images), with decay of all parameters.
        lr_scaling: by the number of images, not of their rotations; see :class:`~sslbolts.SSLModule`.
        warmup_epochs, final_lr: see :class:`~sslbolts.SSLModule`; no warm-up in the official code.
        network: see :class:`~sslbolts.methods.pretext.base.PretextArguments`.

    Raises:
        UsageError: for a value out of its range, or a layer that the backbone does not have; when training, for
            images that are not square.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728.

    Example:
        >>> from sslbolts.networks.nin import NIN
        >>> method = RotNet(NIN(blocks=4), feature_layer="block2")
        >>> method(torch.rand(2, 3, 32, 32)).shape, sum(p.numel() for p in method.parameters())
        (torch.Size([2, 192]), 1411140)
    """

    starts_at_identity = True
    own_statistics_from = 1  # as in the official code
    decay_vectors = True
    indicators = (
        Indicator(
            "train/accuracy_over_chance",
            "a rotation is recognized hardly more often than by guessing among the four",
            below=1.2,
            fixes=("a lower or higher learning rate", "images that have an upper side"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        milestones: Sequence[float] = (0.3, 0.6, 0.8),
        milestone_factor: float = 0.2,
        optimizer: OptimizerCallable = lambda params: SGD(
            params, lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4
        ),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        positive(milestone_factor=milestone_factor)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.milestone_factor = milestone_factor
        self.classifier = nn.Linear(self.num_features, len(ANGLES))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        (x,) = batch.views  # (B, C, S, S)
        # Turned images follow each other as views do, so that probes know whose rows are whose.
        labels = rotation_labels(len(x), image_major=False, device=x.device)  # (4 B,)
        logits = self.classify(rotations(x, image_major=False))  # (4 B, 4)
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x))
        right = (logits.detach().argmax(1) == labels).float().mean()
        self.log_matching(right, of=len(ANGLES), batch_size=len(x), name="train/rotation_accuracy")
        return loss

    def classify(self, rotated: Tensor) -> Tensor:
        """Logits ``(N, 4)`` of the quarters by which images ``(N, C, S, S)`` are turned."""
        logits: Tensor = self.classifier(self.backbone(self.prepare(rotated)))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """Each image in its four rotations."""
        return [Shown(rotate(images, quarters), [f"{angle}°"] * len(images)) for quarters, angle in enumerate(ANGLES)]
