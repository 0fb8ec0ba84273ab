"""Fine-tuning: the whole network goes on training, with labels and a linear head."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch, images_of, targets_of
from sslbolts.checkpoints.from_checkpoint import FromCheckpoint
from sslbolts.checks import as_plain, whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import right_answers, two_class_margin
from sslbolts.evaluation.fine_tuning.settings import FineTuneSettings, fine_tune_settings
from sslbolts.networks.backbones import feature_width
from sslbolts.networks.drop_path import set_drop_path
from sslbolts.networks.pooling import mean_pooled
from sslbolts.networks.tiny_batches import running_statistics
from sslbolts.optim import Schedule, warmup_cosine, warmup_steps
from sslbolts.optim.layer_decay import layer_groups
from sslbolts.readouts.checks import usable
from sslbolts.training.facts import effective_batch_size, steps_per_epoch, total_steps
from sslbolts.training.labeled_evaluation import LabeledEvaluation

__all__ = ["FineTune"]


class FineTune(FromCheckpoint, LabeledEvaluation):
    """A backbone and a linear head, trained together on labeled images by a paper's settings.

    The learning rate falls from layer to layer towards the first (ResNets by stage, vision transformers by block), and
    mixup or CutMix blend the images of a batch and their labels. Rows with label -1 are left out. What is drawn is a
    function of (seed, epoch, batch, rank).

    Logs ``train/loss``, and of the evaluation images ``val/top1``, ``val/top5`` (from six classes on), ``val/auc`` (of
    two classes) and ``val/loss``, each image counted once on any number of processes.

    Args:
        backbone: ``(B, C, H, W) -> (B, D)``; it is changed and trained in place. It is in the checkpoint's weights, not
            in its hyperparameters: ``load_from_checkpoint`` asks for ``backbone=`` again.
        num_classes: number of classes, at least 2.
        settings: a name of :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS`, or settings of
            your own.
        **changes: values in place of theirs, e.g. ``epochs=20``, ``layer_decay=0.75``.

    Attributes:
        settings: the settings in use; their ``epochs`` are for the Trainer's ``max_epochs``.
        pooling: which features the head has, in words.

    Raises:
        UsageError: for unknown settings or values, or a network whose blocks are not known though they are needed.

    Source: that of the settings; layer-wise decay and this form of the protocol are of Bao et al., BEiT, ICLR 2022,
    arXiv:2106.08254.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> tuned = FineTune(create_backbone("resnet18", stem="cifar"), 10, settings="simclr_10pct")
        >>> tuple(tuned(torch.zeros(2, 3, 32, 32)).shape), tuned.settings.epochs
        ((2, 10), 30)
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, *, settings: str | FineTuneSettings = "mae", **changes: Any
    ) -> None:
        super().__init__()
        whole(2, num_classes=num_classes)
        self.settings = fine_tune_settings(settings, **changes)
        pooled = self.settings.pooling == "mean" and mean_pooled(backbone)
        self.pooling = "mean of the patch tokens" if pooled else "the network's own"
        self.backbone = backbone.train().requires_grad_()
        self.head = nn.Linear(feature_width(backbone), num_classes)
        nn.init.normal_(self.head.weight, std=self.settings.head_std)
        nn.init.zeros_(self.head.bias)
        set_drop_path(self.backbone, self.settings.drop_path)
        self._groups()  # a network whose blocks are not known is refused now
        self.num_classes = num_classes
        self._mixers = _mixers(self.settings, num_classes)
        self.save_hyperparameters(as_plain({"num_classes": num_classes, "settings": asdict(self.settings)}))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of normalized images ``(B, C, H, W)``."""
        logits: Tensor = self.head(self.backbone(x))
        return logits

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if isinstance(batch, ViewBatch) and len(batch.views) != 1:
            raise UsageError(
                f"fine-tuning takes one view of each image, and the batch has {len(batch.views)}: give the DataModule "
                "views=MultiView((View(size),))."
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy of a batch of one view per image, or ``(images, targets, ...)``."""
        images, targets = images_of(batch), targets_of(batch)
        labeled = targets >= 0
        if not labeled.all():
            images, targets = images[labeled], targets[labeled]
        if not len(targets):
            raise UsageError("a training batch has no label: fine-tuning needs labeled training images.")
        if self._mixers and len(targets) > 1:
            which = int(torch.randint(len(self._mixers), ()))
            images, targets = self._mixers[which](images, targets)
        loss = F.cross_entropy(self.logits(images), targets, label_smoothing=self.settings.label_smoothing)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` to train on; a single image is normalized by what the norms have seen so far."""
        with running_statistics(self.backbone) if len(images) == 1 else nullcontext():
            logits: Tensor = self(images).float()
        return logits

    def answers(self, batch: Any) -> dict[str, Tensor]:
        logits, targets = self(images_of(batch)).float(), targets_of(batch)
        losses = F.cross_entropy(logits, targets.clamp(min=0), reduction="none")
        found = {**right_answers(logits, targets), "loss": losses, "finite": usable(logits)}
        return found | two_class_margin(logits)

    def configure_optimizers(self) -> Any:
        """AdamW or SGD over the layers' groups, with warm-up and decay per step over the whole run."""
        settings, total = self.settings, total_steps(self.trainer)
        warmup = round(settings.warmup_epochs * steps_per_epoch(self.trainer)) if settings.warmup_epochs else 0
        ratio = effective_batch_size(self.trainer) / 256
        ratio = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[settings.lr_scaling]
        groups = [{**group, "lr": ratio * group["lr"]} for group in self._groups()]
        lr = ratio * (settings.lr or settings.head_lr or 0.0)  # without either, nothing moves
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, lr=lr)
        else:
            optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=settings.nesterov)
        floor = settings.min_lr / lr if lr else 0.0
        milestones = settings.milestones if settings.decay == "steps" else ()

        def factor(step: int) -> float:
            if settings.decay == "cosine":
                return warmup_cosine(step, total=total, warmup=warmup, floor=floor)
            return warmup_steps(step, total=total, warmup=warmup, milestones=milestones, factor=settings.step_factor)

        schedule = Schedule(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        settings = self.settings
        return layer_groups(
            self.backbone,
            self.head,
            layer_decay=settings.layer_decay,
            weight_decay=settings.weight_decay,
            lr=settings.lr,
            head_lr=settings.head_lr,
        )


def _mixers(settings: FineTuneSettings, num_classes: int) -> list[Any]:
    if not settings.mixup and not settings.cutmix:
        return []
    from torchvision.transforms import v2

    mixers: list[Any] = [v2.MixUp(alpha=settings.mixup, num_classes=num_classes)] if settings.mixup else []
    return mixers + ([v2.CutMix(alpha=settings.cutmix, num_classes=num_classes)] if settings.cutmix else [])
