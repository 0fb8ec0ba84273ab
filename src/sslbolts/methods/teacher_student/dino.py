"""DINO: emerging properties in self-supervised vision transformers."""

import math
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.callbacks.schedules import TeacherTemperatureSchedule, WeightDecaySchedule
from sslbolts.checks import at_least, below_one, fraction, positive, whole
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses import dino
from sslbolts.losses.dino import dino_targets, mean_entropy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike, is_untrained
from sslbolts.networks.heads import DINOHead
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import OptimizerCallable, clip_each_
from sslbolts.training.memory import Memory

__all__ = ["DINO", "Center"]


class Center(Memory):
    """The running mean of the teacher's logits over images and ranks, `c ← m c + (1 - m) mean t`, from zero.

    Args:
        dim: number of logits `K`.
        momentum: `m`, in [0, 1).

    Attributes:
        value: ``(K,)``.

    Example:
        >>> center = Center(2, momentum=0.9)
        >>> center.stage(torch.tensor([[1.0, -1.0]]))  # the mean over one batch
        >>> center.commit()
        >>> [round(x, 3) for x in center.value.tolist()]
        [0.1, -0.1]
    """

    value: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dim))

    def update(self, means: Tensor) -> None:
        mean = all_sum(means.mean(0)) / world_size()
        self.value.mul_(self.momentum).add_(mean.to(self.value.dtype), alpha=1 - self.momentum)


class DINO(SSLModule):
    r"""DINO: a student's small and large crops say what the teacher says of the large ones; no labels, no negatives.

    The teacher's logits are centered (with the center from before the batch), which alone would end in uniform outputs,
    and sharpened, which alone would end in one-hot ones. The first two views of a batch go to teacher and student, all
    further ones to the student. Same-size crops share their batch-norm statistics. After the backward pass each
    gradient is clipped by itself, and the last layer is frozen during the first epoch.

    Networks of timm take crops of several sizes, vision transformers included, whose position embeddings are resampled
    as in the official code (``backbone_kwargs={"positions": "timm"}`` for timm's way). The paper trains a ResNet-50
    with SGD(lr=0.03, weight_decay=1e-4), ``final_weight_decay=None`` and wider crops:
    configs/dino_resnet50_imagenet.yaml.

    Args:
        hidden_dim: width of the projector's hidden layers.
        bottleneck_dim: width of the normalized embedding before the last layer.
        output_dim: number of prototypes `K`.
        batch_norm: batch norm in the projector.
        norm_last_layer: keep the prototypes' norm at 1: steadier; the official ViT-S runs learn it.
        student_temperature: `τ_s`.
        teacher_temperature: `τ_t` after its warm-up; the official runs of more than 100 epochs go up to 0.07.
        warmup_teacher_temperature: `τ_t` in the first epoch.
        warmup_teacher_temperature_epochs: epochs of the linear rise from one to the other, the paper's 30 or 50.
        center_momentum: `m` of the center.
        momentum: of the teacher at the beginning, 0.9995 for small batches; it rises to 1.
        freeze_last_layer_epochs: epochs in which the student's last layer stands still.
        clip: largest norm of a parameter's gradient; None for no clipping.
        drop_path: stochastic depth of the student, for a vision transformer of timm given by name; the teacher has
            none. Other networks are taken as they are: give a ResNet's with ``backbone_kwargs``.
        final_weight_decay: to which the optimizer's weight decay rises over the run; None for a constant one.
        optimizer: AdamW as in the paper; 1-d parameters are not decayed.
        final_lr: the official runs end at a learning rate of 1e-6, which is this fraction at batch 1024.
        backbone, lr_scaling, warmup_epochs, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range; when training, if the first two views are not of one size.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> method = DINO("vit_tiny_patch16_224", output_dim=4096, teacher_temperature=0.07,
        ...               warmup_teacher_temperature_epochs=31)
        >>> [round(method.temperature_schedule.temperature_at(epoch), 3) for epoch in (0, 15, 30, 99)]
        [0.04, 0.055, 0.07, 0.07]
    """

    starts_at_identity = False
    num_views = None
    embedding = "projector.mlp"  # CollapseMonitor looks before the prototypes: the logits' width says nothing
    indicators = (
        Indicator(
            metric="train/teacher_entropy",
            above=0.995,
            below=0.002,
            meaning="the teacher's distribution is uniform (1) or one-hot (0) for every image: collapse",
            fixes=(
                "near 1: a lower teacher temperature, or a longer warm-up of it",
                "near 0: a higher teacher temperature, or a smaller center_momentum",
                "a smaller learning rate, freeze_last_layer_epochs=1 or more",
            ),
        ),
        Indicator(
            metric="train/kl",
            below=0.001,
            meaning="student and teacher say the same of every view: there is nothing left to learn",
            fixes=("a smaller learning rate", "a higher momentum of the teacher", "stronger augmentation"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "vit_small_patch16_224",
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        output_dim: int = 65536,
        batch_norm: bool = False,
        norm_last_layer: bool = True,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_teacher_temperature: float = 0.04,
        warmup_teacher_temperature_epochs: int = 0,
        center_momentum: float = 0.9,
        momentum: float = 0.996,
        freeze_last_layer_epochs: int = 1,
        clip: float | None = 3.0,
        drop_path: float = 0.1,
        final_weight_decay: float | None = 0.4,
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=5e-4, weight_decay=0.04),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 5e-4,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, bottleneck_dim=bottleneck_dim, output_dim=output_dim)
        positive(student_temperature=student_temperature, teacher_temperature=teacher_temperature, clip=clip)
        positive(warmup_teacher_temperature=warmup_teacher_temperature)
        whole(0, warmup_teacher_temperature_epochs=warmup_teacher_temperature_epochs)
        whole(0, freeze_last_layer_epochs=freeze_last_layer_epochs)
        below_one(center_momentum=center_momentum, drop_path=drop_path)
        fraction(momentum=momentum)
        at_least(0, final_weight_decay=final_weight_decay)
        given = network.get("backbone_kwargs")
        if _is_timm_transformer(backbone):
            given = {"positions": "dino", **(given or {})}
            network["backbone_kwargs"] = {"drop_path_rate": drop_path, **given}
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.save_hyperparameters({"backbone_kwargs": given})  # drop_path is stored by itself
        token = self.backbone.cls_token if _is_timm_transformer(backbone) and is_untrained(backbone, given) else None
        if isinstance(token, Tensor):
            nn.init.trunc_normal_(token, std=0.02)  # timm's is nearly zero
        self.student_temperature = student_temperature
        self.temperature_schedule = TeacherTemperatureSchedule(
            warmup_teacher_temperature, teacher_temperature, epochs=warmup_teacher_temperature_epochs
        )
        self.teacher_temperature = self.temperature_schedule.temperature_at(0)
        self.momentum = momentum
        self.freeze_last_layer_epochs = freeze_last_layer_epochs
        self.clip = clip
        self.final_weight_decay = final_weight_decay
        widths = (self.num_features, hidden_dim, bottleneck_dim, output_dim)
        self.projector = DINOHead(*widths, batch_norm=batch_norm, norm_last_layer=norm_last_layer)
        self.teacher = Teacher(self.backbone, self.projector)
        for module in self.teacher.modules():
            if hasattr(module, "drop_prob"):
                setattr(module, "drop_prob", 0.0)  # noqa: B010 - timm's stochastic depth
        self.center = Center(output_dim, center_momentum)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        views, rows = batch.views, len(batch.views[0])
        if len(views) < 2 or views[0].shape != views[1].shape:
            raise UsageError("DINO takes two large views of one size, and any number of small ones: choose views=dino.")
        student = self.projector(self.embed(views)).unflatten(0, (len(views), rows))  # (V, B, K)
        teacher = self.teacher(torch.cat(views[:2])).unflatten(0, (2, rows))  # (2, B, K)
        loss = dino(
            student,
            teacher,
            self.center.value,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        entropy = mean_entropy(dino_targets(teacher, self.center.value, self.teacher_temperature))
        self.center.stage(teacher.mean((0, 1), dtype=self.center.value.dtype)[None])
        self.log("train/loss", loss, prog_bar=True, batch_size=rows)
        self.log("train/kl", loss.detach() - entropy, batch_size=rows)
        # as a share of ln K, which is the entropy of the uniform distribution
        self.log("train/teacher_entropy", entropy / math.log(student.shape[2]), batch_size=rows)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip every gradient by itself; without one, the last layer gets no momentum and no decay either."""
        if self.clip is not None:
            clip_each_(self.parameters(), self.clip)
        if self.epochs_done < self.freeze_last_layer_epochs:
            for p in self.projector.last_layer.parameters():
                p.grad = None

    def configure_callbacks(self) -> list[Callback]:
        decay = [] if self.final_weight_decay is None else [WeightDecaySchedule(self.final_weight_decay)]
        return [EMATeacher(self.momentum), self.temperature_schedule, *decay]


def _is_timm_transformer(backbone: BackboneLike) -> bool:
    """True for the name of one; torchvision's names have no ``patch``."""
    kinds = ("vit_", "deit_", "deit3_")
    return isinstance(backbone, str) and "_patch" in backbone and backbone.removeprefix("timm/").startswith(kinds)
