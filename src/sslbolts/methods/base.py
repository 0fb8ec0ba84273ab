"""The base of every method: a LightningModule with a backbone, one optimizer, and a schedule over its whole run."""

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from sslbolts._lightning import rank_zero_warn
from sslbolts.batch import ViewBatch
from sslbolts.checkpoints.from_checkpoint import FromCheckpoint
from sslbolts.checkpoints.lightning_files import write_whole_checkpoints
from sslbolts.checkpoints.misfit import refuse_misfit
from sslbolts.checkpoints.optimizers import StoredOptimizers
from sslbolts.checkpoints.safe_arguments import storable
from sslbolts.checks import at_least, fraction, one_of, whole
from sslbolts.errors import UsageError, no_such_argument
from sslbolts.health import Indicator
from sslbolts.networks.backbones import (
    BackboneLike,
    NetworkArguments,
    Stem,
    create_backbone,
    feature_width,
    first_convolution,
    warn_small_images,
)
from sslbolts.networks.teacher import Teacher
from sslbolts.optim import (
    LARS,
    OptimizerCallable,
    OptimizerSpec,
    Schedule,
    parameter_groups,
    warmup_cosine,
    warmup_steps,
)
from sslbolts.readouts import normalized_std
from sslbolts.training.facts import effective_batch_size, steps_done, steps_per_epoch, total_steps
from sslbolts.training.memory import broadcast_memories, commit_memories, forget_staged, memory_names, only_measures
from sslbolts.training.module import TrainingModule
from sslbolts.training.resized import resize_to_checkpoint

__all__ = ["LRScaling", "NetworkArguments", "SSLModule"]

LRScaling = Literal["linear", "sqrt", "none"]
"""The rule by which the learning rate follows the effective batch size B: ``lr * B / 256``, its root, or neither."""


class SSLModule(FromCheckpoint, TrainingModule):
    """A backbone that is trained without labels. A method adds its heads and a ``training_step``.

    Args:
        backbone: timm or torchvision name, or a module ``(B, C, H, W) -> (B, num_features)``; see
            :func:`sslbolts.networks.backbones.create_backbone`. A module is not stored in checkpoints' hyperparameters:
            ``load_from_checkpoint`` then asks for ``backbone=``.
        optimizer: takes parameter groups, returns the optimizer; its ``lr`` is the one for 256 images per step. The
            description that a checkpoint stores, ``{"class_path": ..., "init_args": ...}``, is taken as well.
        lr_scaling: how that learning rate follows the effective batch size.
        warmup_epochs: epochs of linear rise from 0; then half a cosine over the rest of the run.
        final_lr: learning rate at the end, as a fraction of the peak.
        milestones: parts of the run, between 0 and 1, at which the learning rate drops; none for the cosine.
        stem: ``"cifar"`` for a ResNet on images of 64 pixels and less.
        in_chans: channels of the images.
        zero_init_residual: start the residual branches of a ResNet given by name at zero, so that each block is the
            identity at first, or at one; None is the method's own choice. Pretrained networks and modules are taken as
            they are.
        backbone_kwargs: further arguments of the named network; ``positions`` among them is the resampling of a vision
            transformer's position embeddings.
        compile_backbone: run the backbone through ``torch.compile``.

    Attributes:
        num_features: width of the backbone's features.
        num_views: how many views a batch must have; None for any number.
        indicators: which logged values tell of this method's health, for ``CollapseMonitor``.
        embedding: submodule whose output ``CollapseMonitor`` looks at; None is the projector, or else the backbone.
        own_statistics_from: images per device from which batch norm needs no other device's; below, Preflight advises
            to synchronize.
        starts_at_identity: the method's choice of ``zero_init_residual``; None is each library's, zero in timm and one
            in torchvision.
        decay_vectors: whether weight decay is on biases and the scales of norms too, as the papers have it that use SGD
            or Adam.
        bias_lr_scale: learning rate of the parameters that are not decayed, biases and norms, over that of the others;
            None where it is the same.
        milestone_factor: by which each of the milestones multiplies the learning rate.
        warmup_lead: steps of the warm-up that count as done before the first: 0 begins at a learning rate of 0, 1 at
            that of one step.

    Raises:
        UsageError: for an unknown name, or a value out of its range.
    """

    num_views: ClassVar[int | None] = 2
    indicators: ClassVar[tuple[Indicator, ...]] = ()
    embedding: ClassVar[str | None] = None
    own_statistics_from: ClassVar[float] = math.inf
    starts_at_identity: ClassVar[bool | None] = None
    decay_vectors: bool = False
    bias_lr_scale: float | None = None
    milestone_factor: float = 0.1
    warmup_lead: ClassVar[int] = 0
    _resumed_optimizers: StoredOptimizers | None = None

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.3, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        *,
        milestones: Sequence[float] = (),
        stem: Stem = "imagenet",
        in_chans: int = 3,
        zero_init_residual: bool | None = None,
        backbone_kwargs: dict[str, Any] | None = None,
        compile_backbone: bool = False,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise UsageError(no_such_argument(type(self), *unknown))
        super().__init__()
        one_of(get_args(LRScaling), lr_scaling=lr_scaling)
        at_least(0, warmup_epochs=warmup_epochs)
        fraction(final_lr=final_lr)
        whole(in_chans=in_chans)
        if not all(0 < milestone < 1 for milestone in milestones):
            raise UsageError(f"milestones={tuple(milestones)}: they are parts of the run, between 0 and 1.")
        if milestones and final_lr:
            raise UsageError(
                f"final_lr={final_lr} has no effect with milestones={tuple(milestones)}: leave one of them out."
            )
        self.optimizer = OptimizerSpec(optimizer)
        self.lr_scaling = lr_scaling
        self.warmup_epochs = warmup_epochs
        self.final_lr = final_lr
        self.milestones = tuple(milestones)
        self.compile_backbone = compile_backbone
        by_name = zero_init_residual is None and isinstance(backbone, str)
        start = {"zero_init_residual": self.starts_at_identity if by_name else zero_init_residual}
        self.backbone = create_backbone(backbone, stem=stem, in_chans=in_chans, **start | (backbone_kwargs or {}))
        self.num_features = feature_width(self.backbone)
        self.backbone.to(memory_format=torch.channels_last)  # convolutions run faster, and compute the same

        # Called here, it collects the arguments of every subclass too; modules are left out, the optimizer described.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Attribute '\w+' is an instance of `nn.Module`")
            self.save_hyperparameters(
                ignore=["backbone", "optimizer"] if isinstance(backbone, nn.Module) else ["optimizer"]
            )
        for name, value in list(self.hparams.items()):
            if isinstance(value, nn.Module):
                del self.hparams[name]
            else:
                self.hparams[name] = storable(name, value)
        self.save_hyperparameters({"optimizer": self.optimizer.plain})

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, num_features)`` of images ``(B, C, H, W)``: what every evaluator reads."""
        features: Tensor = self.backbone(x)
        return features

    def embed(self, views: Sequence[Tensor]) -> Tensor:
        """Features of all views with one call of the backbone per resolution, so that equal sizes share statistics.

        Args:
            views: `V` tensors ``(B, C, H_v, W_v)``; views of one size stand together.

        Returns:
            ``(V * B, num_features)``, view after view.
        """
        runs = [torch.cat(list(run)) for _, run in groupby(views, key=lambda view: view.shape[-2:])]
        return torch.cat([self.backbone(run) for run in runs])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All trainable parameters, for the optimizer; 1-d ones without decay unless the method has ``decay_vectors``.

        A method may return others. Besides the optimizer's own settings a group may have ``lr_scale``, by which its
        learning rate differs from the others', and ``fixed_lr=True``, for no warm-up and no cosine.
        """
        groups = parameter_groups(self, decay_vectors=self.decay_vectors)
        for group in groups:
            if self.bias_lr_scale is not None and group.get("weight_decay") == 0:
                group["lr_scale"] = self.bias_lr_scale
        return groups

    def input_module(self) -> nn.Module:
        """The module that images enter: the backbone, unless a method filters them first."""
        return self.backbone

    def image_channels(self) -> int | None:
        """Channels of the images that are given; None where the network does not tell."""
        first = first_convolution(self.input_module())
        return None if first is None else first.in_channels

    def ema_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs (student, teacher) of equal modules that ``EMATeacher`` averages: those of a ``self.teacher``."""
        teacher = getattr(self, "teacher", None)
        return teacher.pairs(self) if isinstance(teacher, Teacher) else []

    def log_matching(
        self, accuracy: Tensor, *, of: float, batch_size: int, name: str = "train/matching_accuracy"
    ) -> None:
        """Logs how often the right one of ``of`` candidates was found, and over chance, which finds 1 in ``of``."""
        self.log(name, accuracy, batch_size=batch_size)
        self.log("train/accuracy_over_chance", accuracy * of, batch_size=batch_size)

    def log_spread(self, z: Tensor) -> None:
        """Logs how evenly embeddings ``(B, D)`` spread over directions: 1 evenly, 0 where all are equal."""
        self.log("train/spread", normalized_std(z) * z.shape[1] ** 0.5, batch_size=len(z))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """The loss of one batch of views."""
        raise NotImplementedError(f"{type(self).__name__} must define training_step(batch, batch_idx).")

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Tensor]:
        """Features of an evaluation batch ``(images, ...)``, for the monitors; no loss, since there is none."""
        return {"features": self(batch[0])}

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``(B, D)``, targets ``(B,)`` and indices ``(B,)`` of ``(images, targets, indices)``."""
        images, targets, indices = batch
        return self(images), targets, indices

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sslbolts_class"] = f"{type(self).__module__}.{type(self).__qualname__}"

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        name = type(self).__name__
        if "backbone" in self.hparams and "backbone" not in checkpoint.get("hyper_parameters", {}):
            raise UsageError(
                f"this checkpoint's backbone was given as a module, which it does not hold, so {name} cannot make it "
                f"again: pass that module, {name}.load_from_checkpoint(path, backbone=...)."
            )
        resize_to_checkpoint(self, checkpoint.get("state_dict", {}))
        if self.strict_loading and "state_dict" in checkpoint:  # a sharded one holds its weights elsewhere
            refuse_misfit(self, checkpoint)
        if self._trainer is not None:
            self._resumed_optimizers = StoredOptimizers(checkpoint)
        super().on_load_checkpoint(checkpoint)

    def setup(self, stage: str) -> None:
        """Has checkpoints written whole, and compares the channels of data and backbone before a convolution does."""
        write_whole_checkpoints(self.trainer)
        # What a memory holds is made equal on all ranks by itself; queues and banks are long to send around.
        self._ddp_params_and_buffers_to_ignore = memory_names(self)
        given, taken = getattr(getattr(self.trainer, "datamodule", None), "in_chans", None), self.image_channels()
        if given is not None and taken is not None and given != taken:
            raise UsageError(
                f"the data has in_chans={given}, but the backbone's first layer takes {taken}: give both the same "
                "in_chans."
            )

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._check_resumed_optimizers()
        forget_staged(self)
        broadcast_memories(self)
        if self.compile_backbone:
            self.compile_network()

    def _check_resumed_optimizers(self) -> None:
        stored, self._resumed_optimizers = self._resumed_optimizers, None
        if stored is None or not self.trainer.strategy.lightning_restore_optimizer:
            return
        stored.refuse_others(self.trainer.optimizers, self.optimizer.plain)
        if idle := stored.without_effect(self.optimizer.plain):
            rank_zero_warn(
                f"a resumed run keeps the settings of its optimizer, so these have no effect: {', '.join(idle)}."
            )

    def compile_network(self) -> None:
        """Compile what ``compile_backbone`` means, in place: the keys of the state dict stay as they are."""
        self.backbone.compile()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Names a wrong first batch, instead of failing somewhere in a network."""
        super().on_train_batch_start(batch, batch_idx)
        if only_measures(self.trainer):
            forget_staged(self)
        if batch_idx == 0 and self.epochs_done == 0:
            self.check_batch(batch)

    def check_batch(self, batch: Any) -> None:
        """Refuse a batch that the method cannot train on; called with the first."""
        name = type(self).__name__
        if not isinstance(batch, ViewBatch):
            raise UsageError(
                f"{name} trains on batches of views, ViewBatch(views, targets, indices), but got a "
                f"{type(batch).__name__}: use a DataModule of sslbolts.data, e.g. DatasetDataModule(your_dataset)."
            )
        if self.num_views is not None and len(batch.views) != self.num_views:
            raise UsageError(
                f"{name} takes {self.num_views} views of each image, and the batch has {len(batch.views)}: choose "
                "another recipe with the DataModule's views=."
            )
        sampler = getattr(self.trainer.train_dataloader, "sampler", None)
        if getattr(sampler, "last_batch", 0) == 1 < len(batch.indices):
            raise UsageError(
                f"{name} compares images, and the last batch of an epoch would be a single one: give the DataModule "
                "drop_last=True, or another batch_size."
            )
        warn_small_images(self.backbone, batch.views[0].shape[-1])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        commit_memories(self)

    def peak_lr(self) -> float:
        """Learning rate after the warm-up, scaled to the effective batch size of the Trainer."""
        if self.lr_scaling == "none":
            return self.optimizer.lr
        ratio = effective_batch_size(self.trainer) / 256
        return self.optimizer.lr * (ratio if self.lr_scaling == "linear" else ratio**0.5)

    def lr_factor(self, step: int, *, total: int, warmup: int) -> float:
        """Factor on the peak learning rate after ``step`` optimizer steps: warm-up, then a cosine or milestones."""
        if step < warmup:
            return (step + self.warmup_lead) / warmup
        if self.milestones:
            factor = self.milestone_factor
            return warmup_steps(step, total=total, warmup=warmup, milestones=self.milestones, factor=factor)
        return warmup_cosine(step, total=total, warmup=warmup, floor=self.final_lr)

    def configure_optimizers(self) -> Any:
        """The optimizer on all trainable parameters, with warm-up and cosine per step over the whole run."""
        total = total_steps(self.trainer)
        warmup = round(self.warmup_epochs * steps_per_epoch(self.trainer)) if self.warmup_epochs else 0
        if warmup >= total and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_warn(
                f"warmup_epochs={self.warmup_epochs} is the whole run ({warmup} of {total} steps): the learning rate "
                "only rises. Pass a smaller warmup_epochs."
            )
        optimizer = self.optimizer(self.parameter_groups())
        scale = self.peak_lr() / self.optimizer.lr if self.optimizer.lr else 1.0
        for group in optimizer.param_groups:
            group["lr"] *= scale * group.get("lr_scale", 1.0)
        schedule = Schedule(
            optimizer,
            lambda step: self.lr_factor(step, total=total, warmup=warmup),
            done=steps_done(self.trainer),
            warmup=warmup,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
