"""Fine-tuning: the whole network goes on training, with labels and a linear head."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch, images_of, targets_of
from sslbolts.errors import UsageError
from sslbolts.evaluation.fine_tuning.recipes import FineTuneRecipe, fine_tune_recipe
from sslbolts.networks.backbones import feature_width
from sslbolts.networks.drop_path import set_drop_path
from sslbolts.networks.pooling import mean_pooled
from sslbolts.networks.tiny_batches import running_statistics
from sslbolts.optim import Schedule, warmup_cosine, warmup_steps
from sslbolts.optim.layer_decay import layer_groups
from sslbolts.training.facts import effective_batch_size, steps_per_epoch, total_steps
from sslbolts.training.labelled_evaluation import LabelledEvaluation

__all__ = ["FineTune"]


class FineTune(LabelledEvaluation):
    """A backbone and a linear head, trained together on labelled images by a paper's recipe.

    The learning rate falls from layer to layer towards the first (ResNets by stage, vision transformers by block), and
    mixup or CutMix blend the images of a batch and their labels. Rows with label -1 are left out. What is drawn is a
    function of (seed, epoch, batch, rank).

    Logs ``train/loss``, and of the evaluation images ``val/top1``, ``val/top5`` (from six classes on) and ``val/loss``,
    each image counted once on any number of processes.

    Args:
        backbone: ``(B, C, H, W) -> (B, D)``; it is changed and trained in place. It is in the checkpoint's weights, not
            in its hyperparameters: ``load_from_checkpoint`` asks for ``backbone=`` again.
        num_classes: number of classes, at least 2.
        recipe: a name of :data:`~sslbolts.evaluation.fine_tuning.recipes.FINE_TUNE_RECIPES`, or a recipe.
        **changes: values in place of the recipe's, e.g. ``epochs=20``, ``layer_decay=0.75``.

    Attributes:
        recipe: the recipe in use; its ``epochs`` are for the Trainer's ``max_epochs``.
        pooling: which features the head has, in words.

    Raises:
        UsageError: for an unknown recipe or value, or a network whose blocks are not known though they are needed.

    Source: the recipe's; layer-wise decay and this form of the protocol: Bao et al., BEiT, ICLR 2022, arXiv:2106.08254.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> tuned = FineTune(create_backbone("resnet18", stem="cifar"), 10, recipe="simclr_10pct")
        >>> tuple(tuned(torch.zeros(2, 3, 32, 32)).shape), tuned.recipe.epochs
        ((2, 10), 30)
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, *, recipe: str | FineTuneRecipe = "mae", **changes: Any
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise UsageError(f"num_classes={num_classes}: at least two classes are needed.")
        self.recipe = fine_tune_recipe(recipe, **changes)
        pooled = self.recipe.pooling == "mean" and mean_pooled(backbone)
        self.pooling = "mean of the patch tokens" if pooled else "the network's own"
        self.backbone = backbone.train().requires_grad_()
        self.head = nn.Linear(feature_width(backbone), num_classes)
        nn.init.normal_(self.head.weight, std=self.recipe.head_std)
        nn.init.zeros_(self.head.bias)
        set_drop_path(self.backbone, self.recipe.drop_path)
        self._groups()  # a network whose blocks are not known is refused now
        self.num_classes = num_classes
        self._mixers = _mixers(self.recipe, num_classes)
        self.save_hyperparameters({"num_classes": num_classes, "recipe": asdict(self.recipe)})

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
        labelled = targets >= 0
        if not labelled.all():
            images, targets = images[labelled], targets[labelled]
        if not len(targets):
            raise UsageError("a training batch has no label: fine-tuning needs labelled training images.")
        if self._mixers and len(targets) > 1:
            which = int(torch.randint(len(self._mixers), ()))
            images, targets = self._mixers[which](images, targets)
        with running_statistics(self.backbone) if len(images) == 1 else nullcontext():
            logits = self(images).float()
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def answers(self, batch: Any) -> dict[str, Tensor]:
        return judged(self(images_of(batch)).float(), targets_of(batch))

    def configure_optimizers(self) -> Any:
        """AdamW or SGD over the layers' groups, with warm-up and decay per step over the whole run."""
        recipe, total = self.recipe, total_steps(self.trainer)
        warmup = round(recipe.warmup_epochs * steps_per_epoch(self.trainer)) if recipe.warmup_epochs else 0
        ratio = effective_batch_size(self.trainer) / 256
        ratio = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[recipe.lr_scaling]
        groups = [{**group, "lr": ratio * group["lr"]} for group in self._groups()]
        lr = ratio * (recipe.lr or recipe.head_lr or 0.0)  # without either, nothing moves
        optimizer: torch.optim.Optimizer
        if recipe.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, lr=lr)
        else:
            optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=recipe.nesterov)
        floor = recipe.min_lr / lr if lr else 0.0
        milestones = recipe.milestones if recipe.decay == "steps" else ()

        def factor(step: int) -> float:
            if recipe.decay == "cosine":
                return warmup_cosine(step, total=total, warmup=warmup, floor=floor)
            return warmup_steps(step, total=total, warmup=warmup, milestones=milestones, factor=recipe.step_factor)

        schedule = Schedule(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        recipe = self.recipe
        return layer_groups(
            self.backbone,
            self.head,
            layer_decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
            lr=recipe.lr,
            head_lr=recipe.head_lr,
        )


def judged(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Whether the label is the first, or among the first five, of each row; and the cross-entropy.

    Args:
        logits: ``(B, K)``.
        targets: ``(B,)``; what is said of rows with label -1 is of no use.

    Returns:
        ``top1``, ``top5`` (from six classes on) and ``loss``, each ``(B,)``.

    Example:
        >>> values = judged(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
        >>> values["top1"].tolist(), [round(x, 3) for x in values["loss"].tolist()]
        ([True, False], [0.127, 2.127])
    """
    values = {"top1": logits.argmax(1) == targets}
    if logits.shape[1] > 5:
        values["top5"] = (logits.topk(5).indices == targets[:, None]).any(1)
    values["loss"] = F.cross_entropy(logits, targets.clamp(min=0), reduction="none")
    return values


def _mixers(recipe: FineTuneRecipe, num_classes: int) -> list[Any]:
    if not recipe.mixup and not recipe.cutmix:
        return []
    from torchvision.transforms import v2

    mixers: list[Any] = [v2.MixUp(alpha=recipe.mixup, num_classes=num_classes)] if recipe.mixup else []
    return mixers + ([v2.CutMix(alpha=recipe.cutmix, num_classes=num_classes)] if recipe.cutmix else [])
