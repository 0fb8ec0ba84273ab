"""Mean Teacher: semi-supervised learning from labels and from a moving average of oneself."""

import math
from collections.abc import Mapping
from typing import Any, Unpack, get_args

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch, targets_of
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.checks import at_least, fraction, one_of, whole
from sslbolts.health import Indicator
from sslbolts.losses import consistency, labeled_cross_entropy
from sslbolts.losses.consistency import Distance
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import OptimizerCallable, sigmoid_ramp
from sslbolts.readouts.checks import usable
from sslbolts.training.facts import steps_per_epoch
from sslbolts.training.labeled_evaluation import LabeledEvaluation, check_classes

__all__ = ["MeanTeacher"]


class MeanTeacher(LabeledEvaluation, SSLModule):
    r"""Mean Teacher: a classifier learns from the labels there are, and everywhere from its own moving average.

    .. math:: \mathrm{CE}(f(x_1), y) + w(t)\, \big\| \mathrm{softmax} f(x_1) - \mathrm{softmax} f'(x_2) \big\|^2

    The teacher `f'` is the average of the student's weights and sees another view. Its weight `w` rises over the first
    epochs, `exp(-5 (1 - t)^2)`; its momentum may be smaller meanwhile. After step `t`, counted from 1, its momentum is
    at most `1 - 1 / (t + 1)`, as in the official PyTorch code, so that it forgets the untrained student. Images of
    label -1 are unlabeled; ``labels_per_class=`` of a DataModule leaves some of a labeled data set with labels.

    The cross entropy is the mean over the labeled images of a batch, and the squared distance the mean over images
    and classes. The official code divides the cross entropy, too, by the number of all images, a constant share of them
    labeled. Three of its numbers are therefore others here, for a share `s`: `w / s`, the learning rate times `s`, and
    the weight decay divided by `s`. For its CIFAR-10 runs, in which a quarter are labeled, 100, 0.1 (for 256 images)
    and 2e-4 are ``consistency_weight=400``, a learning rate of 0.025 and a decay of 8e-4. The defaults are official
    ones only where all images are labeled. Its epochs are passes over the unlabeled images. Left out: its second output
    layer.

    Features for other tasks are those of the student's backbone; ``classifier`` on top of them gives the classes. How
    often it is right on validation images is ``val/top1``, the teacher ``val/teacher_top1``.

    Args:
        num_classes: number of classes.
        consistency_weight: `w` after its rise; an official one divided by the share of labeled images.
        ramp_up_epochs: length of the rise, in epochs of the run; 5 in the official code, on CIFAR-10 and on ImageNet,
            of epochs that are passes over the unlabeled images.
        distance: "mse", or "kl" for a Kullback-Leibler divergence, which the paper found worse.
        momentum: of the teacher during the rise, at most.
        final_momentum: of the teacher afterwards; the official PyTorch runs have one for both: 0.99 for 4,000 labels of
            CIFAR-10, 0.97 for 1,000. The defaults are those of the TensorFlow code.
        optimizer: SGD with Nesterov momentum and decay on all parameters, as the official code has for residual
            networks.
        backbone, lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or another number of classes than the data's.

    Source: Tarvainen and Valpola, Mean Teachers are Better Role Models: Weight-Averaged Consistency Targets Improve
    Semi-Supervised Deep Learning Results, NeurIPS 2017, arXiv:1703.01780.

    Example:
        >>> method = MeanTeacher("resnet10t", stem="cifar", num_classes=10)
        >>> method.classifier(method.eval()(torch.rand(2, 3, 32, 32))).shape
        torch.Size([2, 10])
    """

    starts_at_identity = False
    decay_vectors = True
    indicators = (
        Indicator(
            metric="train/labeled",
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
        optimizer: OptimizerCallable = lambda params: SGD(
            params, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True
        ),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(2, num_classes=num_classes)
        at_least(0, consistency_weight=consistency_weight, ramp_up_epochs=ramp_up_epochs)
        one_of(get_args(Distance), distance=distance)
        fraction(momentum=momentum, final_momentum=final_momentum)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.num_classes = num_classes
        self.consistency_weight = consistency_weight
        self.ramp_up_epochs = ramp_up_epochs
        self.distance = distance
        self.momentum, self.final_momentum = momentum, final_momentum
        self.classifier = nn.Linear(self.num_features, num_classes)
        self.teacher = Teacher(self.backbone, self.classifier)
        self.ramp_up_steps = 0

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        student, teacher = self.classifier(self.backbone(x1)), self.teacher(x2)  # (B, num_classes)
        supervised = labeled_cross_entropy(student, batch.targets)
        agreement = consistency(student, teacher, self.distance)
        weight = self.consistency_weight * sigmoid_ramp(self.steps_done, length=self.ramp_up_steps)
        loss = supervised + weight * agreement

        probabilities = teacher.float().softmax(1)
        entropy = torch.special.entr(probabilities).sum(1).mean() / math.log(self.num_classes)
        values = {
            "train/supervised": supervised,
            "train/consistency": agreement,
            "train/consistency_weight": agreement.new_full((), weight),  # a number would be copied to the device
            "train/labeled": (batch.targets >= 0).float().mean(),
            "train/teacher_entropy": entropy,
        }
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        self.log_dict(values, batch_size=len(x1))
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Tensor]:
        """Features for the monitors; of the first loader's labeled images, count the right answers."""
        features = self(batch[0])
        if dataloader_idx == 0 and len(batch) > 1:
            answers = {"top1": self.classifier(features), "teacher_top1": self.teacher(batch[0])}
            finite = {name: usable(logits) for name, logits in answers.items()}
            right = {n: (logits.argmax(1) == targets_of(batch)) & finite[n] for n, logits in answers.items()}
            self.count(batch, {**right, "finite": finite["top1"] & finite["teacher_top1"]})
        return {"features": features}

    test_step = validation_step

    def setup(self, stage: str) -> None:
        super().setup(stage)
        check_classes(self, self.num_classes, stage)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.ramp_up_steps = round(self.ramp_up_epochs * steps_per_epoch(self.trainer)) if self.ramp_up_epochs else 0

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().ema_pairs(), (self.classifier, self.teacher.projector)]

    def configure_callbacks(self) -> list[Callback]:
        return [_TwoSpeedTeacher(self)]


class _TwoSpeedTeacher(EMATeacher):
    """Another momentum while the consistency weight rises than afterwards."""

    def __init__(self, method: MeanTeacher) -> None:
        super().__init__(method.momentum, final_momentum=method.final_momentum)
        self._method = method

    def momentum_at(self, *, step: int, total: int) -> float:
        """`τ` after optimizer step number ``step``: constant twice, but for the first steps."""
        constant = self.momentum if step < self._method.ramp_up_steps else self.final_momentum
        return min(1 - 1 / (step + 2), constant)
