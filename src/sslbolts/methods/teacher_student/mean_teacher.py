"""Mean Teacher: semi-supervised learning from labels and from a moving average of oneself."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch, targets_of
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import consistency, labelled_cross_entropy
from sslbolts.losses.consistency import Distance
from sslbolts.methods.base import SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import OptimizerCallable, sigmoid_ramp
from sslbolts.training.counts import RightCounts
from sslbolts.training.facts import steps_per_epoch
from sslbolts.training.logs import log_reduced
from sslbolts.training.rows import first_loader

__all__ = ["MeanTeacher"]


class MeanTeacher(SSLModule):
    r"""Mean Teacher: a classifier learns from the labels there are, and everywhere from its own moving average.

    .. math:: \mathrm{CE}(f(x_1), y) + w(t)\, \big\| \mathrm{softmax} f(x_1) - \mathrm{softmax} f'(x_2) \big\|^2

    The teacher `f'` is the average of the student's weights and sees another view. Its weight `w` rises over the first
    epochs, `exp(-5 (1 - t)^2)`; its momentum is smaller meanwhile, so that it forgets the first student. Images of
    label -1 are unlabelled; ``labels_per_class=`` of a DataModule leaves some of a labelled data set with labels.

    The cross entropy is the mean over the labelled images of a batch, and the squared distance the mean over images
    and classes. The official code divides the cross entropy, too, by the number of all images, of which it makes a
    constant share labelled. A weight `w` of it is therefore `w` divided by that share here: for the 100 of its CIFAR-10
    runs, in which a quarter are labelled, give ``consistency_weight=400``. The default of 100 is as much as the
    official one only where all images are labelled. Left out: its second output layer.

    Features for other tasks are those of the student's backbone; ``classifier`` on top of them gives the classes. How
    often it is right on validation images is ``val/top1``, the teacher ``val/teacher_top1``.

    Args:
        backbone: see :class:`SSLModule`.
        num_classes: number of classes.
        consistency_weight: `w` after its rise; an official one divided by the share of labelled images.
        ramp_up_epochs: length of the rise; 5 in the official code, on CIFAR-10 and on ImageNet.
        distance: "mse", or "kl" for a Kullback-Leibler divergence, which the paper found worse.
        momentum: of the teacher during the rise.
        final_momentum: of the teacher afterwards.
        optimizer: SGD with Nesterov momentum and decay on all parameters, as the official code has for residual
            networks.
        recipe: what :class:`SSLModule` takes besides.

    Raises:
        UsageError: for a value out of its range, or another number of classes than the data's.

    Source: Tarvainen and Valpola, Mean Teachers are Better Role Models: Weight-Averaged Consistency Targets Improve
    Semi-Supervised Deep Learning Results, NeurIPS 2017, arXiv:1703.01780.

    Example:
        >>> method = MeanTeacher("resnet10t", stem="cifar", num_classes=10)
        >>> method.classifier(method.eval()(torch.rand(2, 3, 32, 32))).shape
        torch.Size([2, 10])
    """

    decay_vectors = True
    indicators = (
        Indicator(
            metric="train/labelled",
            below=1e-9,
            meaning="no image of the batch has a label, so the student only learns to agree with its own average",
            fixes=("labels: label -1 means none", "larger batches, or more labels per class"),
        ),
        Indicator(
            metric="train/teacher_entropy",
            above=0.99,
            meaning="the teacher finds all classes equally likely and teaches nothing",
            fixes=("a smaller consistency_weight or a longer ramp_up_epochs", "a smaller momentum"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        num_classes: int = 1000,
        consistency_weight: float = 100.0,
        ramp_up_epochs: float = 5.0,
        distance: Distance = "mse",
        momentum: float = 0.99,
        final_momentum: float = 0.999,
        optimizer: OptimizerCallable = lambda params: torch.optim.SGD(
            params, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True
        ),
        **recipe: Any,
    ) -> None:
        if num_classes < 2:
            raise UsageError(f"num_classes={num_classes}: a classifier needs two classes or more.")
        if consistency_weight < 0 or ramp_up_epochs < 0:
            raise UsageError(
                f"consistency_weight={consistency_weight}, ramp_up_epochs={ramp_up_epochs}: neither can be negative."
            )
        super().__init__(backbone, optimizer=optimizer, **recipe)
        self.num_classes = num_classes
        self.consistency_weight = consistency_weight
        self.ramp_up_epochs = ramp_up_epochs
        self.distance = distance
        self.momentum, self.final_momentum = momentum, final_momentum
        self.classifier = nn.Linear(self.num_features, num_classes)
        self.teacher = Teacher(self.backbone, self.classifier)
        self._ramp_up_steps = 0
        self._right: RightCounts | None = None  # while images are evaluated

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        student, teacher = self.classifier(self.backbone(x1)), self.teacher(x2)  # (B, num_classes)
        supervised = labelled_cross_entropy(student, batch.targets)
        agreement = consistency(student, teacher, self.distance)
        weight = self.consistency_weight * sigmoid_ramp(self.trainer.global_step, length=self._ramp_up_steps)
        loss = supervised + weight * agreement

        probabilities = teacher.float().softmax(1)
        entropy = torch.special.entr(probabilities).sum(1).mean() / math.log(self.num_classes)
        values = {
            "train/supervised": supervised,
            "train/consistency": agreement,
            "train/consistency_weight": agreement.new_full((), weight),  # a number would be copied to the device
            "train/labelled": (batch.targets >= 0).float().mean(),
            "train/teacher_entropy": entropy,
        }
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        self.log_dict(values, batch_size=len(x1))
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Tensor]:
        """Features for the monitors; of the first loader's labelled images, count the right answers."""
        features = self(batch[0])
        if dataloader_idx == 0 and self._right is not None and len(batch) > 1:
            answers = {"top1": self.classifier(features), "teacher_top1": self.teacher(batch[0])}
            targets = targets_of(batch)
            self._right.add(batch, {name: logits.argmax(1) == targets for name, logits in answers.items()})
        return {"features": features}

    test_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self._right = RightCounts(first_loader(self.trainer.val_dataloaders))

    def on_test_epoch_start(self) -> None:
        self._right = RightCounts(first_loader(self.trainer.test_dataloaders))

    def on_validation_epoch_end(self) -> None:
        self._log_right("val")

    def on_test_epoch_end(self) -> None:
        self._log_right("test")

    def _log_right(self, prefix: str) -> None:
        shares = {} if self._right is None else self._right.shares()
        log_reduced(self, {f"{prefix}/{name}": share for name, share in shares.items()})
        self._right = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        classes = getattr(getattr(self.trainer, "datamodule", None), "class_names", None)
        if stage == "fit" and classes is not None and len(classes) > self.num_classes:
            raise UsageError(
                f"the data has {len(classes)} classes, but num_classes={self.num_classes}: give num_classes="
                f"{len(classes)}."
            )

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._ramp_up_steps = round(self.ramp_up_epochs * steps_per_epoch(self.trainer)) if self.ramp_up_epochs else 0

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.backbone, self.teacher.backbone), (self.classifier, self.teacher.projector)]

    def configure_callbacks(self) -> list[Callback]:
        return [_TwoSpeedTeacher(self)]


class _TwoSpeedTeacher(EMATeacher):
    """Another momentum while the consistency weight rises than afterwards."""

    def __init__(self, method: MeanTeacher) -> None:
        super().__init__(method.momentum, final_momentum=method.final_momentum)
        self._method = method

    def momentum_at(self, *, step: int, total: int) -> float:
        """`τ` after optimizer step number ``step``: constant twice."""
        return self.momentum if step < self._method._ramp_up_steps else self.final_momentum
