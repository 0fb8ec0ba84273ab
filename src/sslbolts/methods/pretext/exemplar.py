"""Exemplar: every image is a class of its own, whose members are views of it."""

import math
from collections.abc import Sequence
from typing import Literal, Unpack, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, one_of, positive, whole
from sslbolts.errors import UsageError
from sslbolts.health import accuracy_over_chance, loss_of_chance
from sslbolts.losses import batch_hard_triplet, semi_hard_triplet
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.training_features import number_of_training_images
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.training.rows import refuse_stream
from sslbolts.training.shared_draws import uniform
from sslbolts.transforms import BatchedAugment, View
from sslbolts.transforms.color_defenses import standardize
from sslbolts.transforms.exemplars import hsv_noise, without_color

__all__ = ["Exemplar", "Objective"]

Objective = Literal["semi_hard", "batch_hard", "softmax"]
"""Triplets with semi-hard negatives, triplets of the hardest with a soft margin, or a classifier over all images."""


class Exemplar(PretextModule):
    """Exemplar: views of one image belong together, however they are cropped and colored.

    The first form is a classifier over some thousand images ("softmax"), which no large set allows. Later ones compare
    the views of a batch, eight of each image, by triplets of embeddings of length 1: Kolesnikov et al. with a margin
    and semi-hard negatives ("semi_hard"), Zhai et al. with the hardest positive and negative of each view and a soft
    margin ("batch_hard"). Their code normalizes embeddings over the batch in the former, which is taken for a mistake:
    here it is each embedding, as in the latter.

    An image's views are all in gray, or none, and each is standardized, training or evaluated. So images come in
    [0, 1] (recipe "exemplar", with ``normalize=False``), and an exported backbone expects standardized ones.

    Args:
        backbone: see :class:`~sslbolts.SSLModule`; in the later papers a ResNet-50, three times as wide at best.
        objective: "semi_hard", "batch_hard" or "softmax".
        output_dim: width of the embeddings; None is 1000. Not for "softmax".
        margin: of "semi_hard"; None is 0.5. Not for the others.
        num_images: of "softmax", classes: training images, whose indices are the classes.
        grayscale_p: probability that an image loses its color in all views.
        color_noise: change saturation, value and hue of each view, see :func:`~sslbolts.transforms.exemplars.hsv_noise`
            (Zhai et al.).
        milestones: parts of the run at which the learning rate is divided by 10: epochs 15 and 25 of 35; none for a
            cosine.
        optimizer: SGD, 0.1 for 256 images, each in all its views.
        lr_scaling, warmup_epochs, final_lr: see :class:`~sslbolts.SSLModule`.
        network: see :class:`~sslbolts.methods.pretext.base.PretextArguments`.

    Raises:
        UsageError: for a value out of its range, or one that the objective has no use for; when training starts, for
            more images than classes; in the first batch, for a single view, or views of several sizes.

    Source: Dosovitskiy et al., Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural
    Networks, arXiv:1406.6909; Kolesnikov et al., Revisiting Self-Supervised Visual Representation Learning, CVPR 2019,
    arXiv:1901.09005; Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670.

    Example:
        >>> method = Exemplar("resnet18", stem="cifar", objective="softmax", num_images=5000)
        >>> method.projector.out_features
        5000
    """

    starts_at_identity = True
    num_views = None
    own_statistics_from = 1  # as in the official code
    indicators = (
        accuracy_over_chance("a view is recognized", "a lower learning rate", "a larger batch", "more epochs"),
        loss_of_chance("embeddings that are all equal", "a lower learning rate", 'objective="batch_hard"'),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        objective: Objective = "semi_hard",
        output_dim: int | None = None,
        margin: float | None = None,
        num_images: int | None = None,
        grayscale_p: float = 0.66,
        color_noise: bool = False,
        milestones: Sequence[float] = (3 / 7, 5 / 7),
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 5.0,
        final_lr: float = 0.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        one_of(get_args(Objective), objective=objective)
        whole(output_dim=output_dim)
        whole(2, num_images=num_images)
        positive(margin=margin)
        fraction(grayscale_p=grayscale_p)
        _refuse_unused(objective, output_dim=output_dim, margin=margin, num_images=num_images)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.objective = objective
        self.margin = 0.5 if margin is None else margin
        self.grayscale_p = grayscale_p
        self.color_noise = color_noise
        self.projector = nn.Linear(self.num_features, num_images or output_dim or 1000)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        views = self.recolored(torch.stack(batch.views), batch_idx)  # (V, B, C, S, S)
        z = self.projector(self.backbone(self.prepare(views.flatten(0, 1))))  # (V B, D)
        images = batch.indices.repeat(len(views))  # (V B,)
        loss, of_equal = self.compare(z, images)
        count = len(batch.indices)
        self.log("train/loss", loss, prog_bar=True, batch_size=count)
        self.log("train/loss_of_chance", loss.detach() / of_equal, batch_size=count)
        right, candidates = self._recognized(z.detach(), images, len(views))
        self.log_matching(right, of=candidates, batch_size=count)
        return loss

    def compare(self, z: Tensor, images: Tensor) -> tuple[Tensor, float]:
        """The loss of embeddings or logits ``(N, D)`` of views of ``images`` ``(N,)``, and that of equal embeddings."""
        if self.objective == "softmax":
            return F.cross_entropy(z.to(torch.promote_types(z.dtype, torch.float32)), images), math.log(z.shape[1])
        z = F.normalize(z, dim=1)
        if self.objective == "batch_hard":
            return batch_hard_triplet(z, images), math.log(2)
        return semi_hard_triplet(z, images, self.margin), self.margin

    def recolored(self, views: Tensor, batch_idx: int) -> Tensor:
        """Views ``(V, B, C, S, S)``: all of an image gray, or none; with ``color_noise`` each in other colors."""
        count, images = views.shape[:2]
        generator = self.generator(batch_idx, device=views.device)
        gray = uniform(images, generator=generator) < self.grayscale_p  # (B,)
        views = without_color(views.flatten(0, 1), gray.repeat(count))
        if self.color_noise:
            draws = uniform(count, images, 7, generator=generator, images=1)
            views = hsv_noise(views, draws.flatten(0, 1).to(views.dtype))
        return views.reshape(count, images, *views.shape[1:])

    def prepare(self, images: Tensor) -> Tensor:
        return standardize(images)

    @torch.no_grad()
    def _recognized(self, z: Tensor, images: Tensor, views: int) -> tuple[Tensor, float]:
        """Part of the views whose class, or whose nearest view on this rank, is their image; and of how many one is."""
        if self.objective == "softmax":
            return (z.argmax(1) == images).float().mean(), z.shape[1]
        z = F.normalize(z.float(), dim=1)
        nearest = (z @ z.T).fill_diagonal_(-torch.inf).argmax(1)
        return (images[nearest] == images).float().mean(), (len(z) - 1) / (views - 1)

    def setup(self, stage: str) -> None:
        if stage == "fit":  # every objective knows images by their rows
            refuse_stream(self.trainer.datamodule, type(self).__name__)  # type: ignore[attr-defined]
        if stage == "fit" and self.objective == "softmax":
            images, classes = number_of_training_images(self.trainer), self.projector.out_features
            if images > classes:
                raise UsageError(
                    f"there are {images} training images, but num_images={classes}: give num_images={images}."
                )
        super().setup(stage)

    def on_train_batch_start(self, batch: ViewBatch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.objective != "softmax" and len(batch.views) < 2:
            raise UsageError(
                "triplets need two or more views of each image, and the batch has 1: choose another recipe with the "
                "DataModule's views=."
            )
        sizes = {view.shape[2:] for view in batch.views}
        if len(sizes) > 1:
            raise UsageError(
                f"Exemplar takes views of one size, got {sorted(map(tuple, sizes))}: choose another recipe."
            )

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """Four crops of each image, all of them gray, or none."""
        images = without_color(images, torch.rand(len(images), generator=generator) < 0.66)
        crop = BatchedAugment(View(images.shape[-1], scale=(0.3, 1.0)))
        labels = [f"image {number}" for number in range(1, len(images) + 1)]
        return [Shown(crop(images, generator=generator), labels) for _ in range(4)]


def _refuse_unused(objective: str, **given: float | None) -> None:
    """Refuse an argument that the objective has no use for, and a classifier without its number of classes."""
    used = {"semi_hard": ("output_dim", "margin"), "batch_hard": ("output_dim",), "softmax": ("num_images",)}[objective]
    for name, value in given.items():
        if value is not None and name not in used:
            raise UsageError(f'{name}={value} has no effect with objective="{objective}": leave it out.')
    if objective == "softmax" and given["num_images"] is None:
        raise UsageError('objective="softmax" has a class for each training image: give num_images=, their number.')
