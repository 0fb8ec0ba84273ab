"""The papers' settings for fine-tuning a whole network, as a frozen table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from sslbolts.checks import at_least, one_of, whole
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.base import LRScaling

__all__ = ["FINE_TUNE_SETTINGS", "FineTuneSettings", "fine_tune_settings"]

Optimizer = Literal["adamw", "sgd"]
Decay = Literal["cosine", "steps", "constant"]
Pooling = Literal["mean", "network"]
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class FineTuneSettings:
    """Everything that the result of fine-tuning depends on, besides the network and the data.

    Args:
        source: where the values are from, and how they differ from what is said there.
        optimizer: "adamw" with betas (0.9, 0.999), or "sgd" with momentum 0.9.
        lr: learning rate of the backbone for 256 images per step, >= 0; 0 leaves its parameters as they are, while its
            batch norms still follow the training images.
        head_lr: that of the linear head; None is ``lr``.
        lr_scaling: how both follow the number B of images per step: ``lr * B / 256``, ``lr * sqrt(B / 256)``, or not.
        nesterov: of the momentum of SGD.
        weight_decay: >= 0; tensors of one dimension, position embeddings and class tokens have none.
        layer_decay: factor in (0, 1] on the learning rate for every layer that stands further from the head.
        epochs: passes over the training images.
        warmup_epochs: epochs of linear rise from 0.
        decay: then half a cosine to ``min_lr``; or times ``step_factor`` at each of ``milestones``; or no change.
        min_lr: learning rate at the end of the cosine.
        milestones: parts of the run in (0, 1).
        step_factor: of each milestone.
        mixup: parameter of the Beta distribution of mixup, >= 0; 0 is without.
        cutmix: that of CutMix; where there are both, each batch has one of them, with equal chances.
        label_smoothing: in [0, 1).
        drop_path: rate of stochastic depth in [0, 1) of the last block; it rises linearly from 0 at the first.
        head_std: standard deviation of the head's first weights; 0 starts at zero.
        pooling: "mean" of the patch tokens, for vision transformers of timm (see
            :func:`~sslbolts.networks.pooling.mean_pooled`), or the features that the network gives.
        interpolation: of the training images' crops.
        crop_scale: least and greatest part of an image's area that its crop covers, in (0, 1].
        batch_size: images per step in the paper, for the record: the DataModule's is used.

    Raises:
        UsageError: for a value out of its range.

    Example:
        >>> FineTuneSettings("mine", optimizer="sgd", lr=0.01, epochs=10).head_lr is None
        True
    """

    source: str
    optimizer: Optimizer
    lr: float
    epochs: int
    head_lr: float | None = None
    lr_scaling: LRScaling = "linear"
    nesterov: bool = False
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    warmup_epochs: float = 0.0
    decay: Decay = "cosine"
    min_lr: float = 0.0
    milestones: tuple[float, ...] = ()
    step_factor: float = 0.2
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    drop_path: float = 0.0
    head_std: float = 0.01
    pooling: Pooling = "network"
    interpolation: Interpolation = "bilinear"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    batch_size: int = 256

    def __post_init__(self) -> None:
        one_of(get_args(Optimizer), optimizer=self.optimizer)
        one_of(get_args(LRScaling), lr_scaling=self.lr_scaling)
        one_of(get_args(Decay), decay=self.decay)
        one_of(get_args(Pooling), pooling=self.pooling)
        one_of(get_args(Interpolation), interpolation=self.interpolation)
        at_least(0, lr=self.lr, head_lr=self.head_lr, min_lr=self.min_lr, weight_decay=self.weight_decay)
        at_least(0, warmup_epochs=self.warmup_epochs, mixup=self.mixup, cutmix=self.cutmix, head_std=self.head_std)
        whole(epochs=self.epochs, batch_size=self.batch_size)
        if not self.lr and not self.head_lr:
            raise UsageError("lr=0 without a head_lr: nothing would be trained; give the head its own rate, head_lr=.")
        for name in ("label_smoothing", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: it must be in [0, 1).")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"layer_decay={self.layer_decay}: it must be in (0, 1], and 1 is without.")
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if not all(0 < milestone < 1 for milestone in self.milestones):
            raise UsageError(f"milestones={self.milestones}: they are parts of the run, in (0, 1).")
        object.__setattr__(self, "crop_scale", tuple(self.crop_scale))
        if len(self.crop_scale) != 2 or not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise UsageError(f"crop_scale={self.crop_scale}: it is (least, greatest), both in (0, 1].")


_MAE = FineTuneSettings(
    "He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377, official code for ViT-B "
    "(without its RandAugment and erasing)",
    optimizer="adamw",
    lr=5e-4,
    epochs=100,
    weight_decay=0.05,
    layer_decay=0.65,
    warmup_epochs=5,
    min_lr=1e-6,
    mixup=0.8,
    cutmix=1.0,
    label_smoothing=0.1,
    drop_path=0.1,
    head_std=2e-5,
    pooling="mean",
    interpolation="bicubic",
    batch_size=1024,
)
_SWAV = FineTuneSettings(
    "Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020, "
    "arXiv:2006.09882, official code",
    optimizer="sgd",
    lr=0.01,
    head_lr=0.2,
    lr_scaling="none",
    epochs=20,
    decay="steps",
    milestones=(0.6, 0.8),
)
_SIMCLR_LABELS = FineTuneSettings(
    "Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, arXiv:2002.05709, "
    "appendix B.5; the head starts at zero, as in the official code",
    optimizer="sgd",
    lr=0.05,
    nesterov=True,
    epochs=30,
    head_std=0.0,
    interpolation="bicubic",
    batch_size=4096,
)
_VICREG = FineTuneSettings(
    "Bardes et al., VICReg, ICLR 2022, arXiv:2105.04906, official code",
    optimizer="sgd",
    lr=0.01,
    head_lr=0.1,
    lr_scaling="none",
    epochs=20,
)

FINE_TUNE_SETTINGS: Mapping[str, FineTuneSettings] = MappingProxyType(
    {
        "mae": _MAE,
        "mae_large": replace(
            _MAE, source=_MAE.source.replace("ViT-B", "ViT-L"), lr=1e-3, epochs=50, layer_decay=0.75, drop_path=0.2
        ),
        "beit": replace(
            _MAE,
            source="Bao et al., BEiT: BERT Pre-Training of Image Transformers, ICLR 2022, arXiv:2106.08254, official "
            "code for BEiT-B (4e-3 for 1024 images), without its RandAugment and erasing",
            lr=1e-3,
            warmup_epochs=20,
        ),
        "simclr": FineTuneSettings(
            "Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, "
            "arXiv:2002.05709, appendix B.8 (transfer): 20,000 steps, learning rate (1e-4 to 0.1) and weight decay (0, "
            "or 1e-6 to 1e-3, divided by the learning rate) to be chosen on validation images; here lr 0.01, 100 "
            "epochs and no decay",
            optimizer="sgd",
            lr=0.01,
            lr_scaling="none",
            nesterov=True,
            epochs=100,
            head_std=0.0,
            interpolation="bicubic",
        ),
        "simclr_1pct": replace(_SIMCLR_LABELS, epochs=60),
        "simclr_10pct": _SIMCLR_LABELS,
        "swav_1pct": replace(_SWAV, lr=0.02, head_lr=5.0),
        "swav_10pct": _SWAV,
        "barlow_1pct": replace(
            _VICREG,
            source="Zbontar et al., Barlow Twins, ICML 2021, arXiv:2103.03230, official code: the "
            "backbone's learning rate is that of its README, 0.002, which was 0.005 in an earlier one",
            lr=2e-3,
            head_lr=0.5,
        ),
        "vicreg_1pct": replace(_VICREG, lr=0.03, head_lr=0.08),
        "vicreg_10pct": _VICREG,
        "rotnet_supervised": FineTuneSettings(
            "Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018, "
            "arXiv:1803.07728, official code for a network on CIFAR-10 that nothing has trained before (without its "
            "decay of norms and biases; crops of 64 % and more in place of moves by up to 4 pixels of 32)",
            optimizer="sgd",
            lr=0.1,
            lr_scaling="none",
            nesterov=True,
            weight_decay=5e-4,
            epochs=200,
            decay="steps",
            milestones=(0.3, 0.6, 0.8),
            crop_scale=(0.64, 1.0),
            batch_size=128,
        ),
    }
)
"""Recipes by name. "1pct" and "10pct" are those for a hundredth and a tenth of ImageNet's labels; "supervised" is for
networks from scratch."""


def fine_tune_settings(settings: str | FineTuneSettings | Mapping[str, Any], **changes: Any) -> FineTuneSettings:
    """Settings by name, with some of their values changed.

    Args:
        settings: a name of :data:`FINE_TUNE_SETTINGS`, settings of your own, or such as a mapping.
        **changes: values of :class:`FineTuneSettings` in place of the settings' own.

    Raises:
        UsageError: for an unknown name or value.

    Example:
        >>> fine_tune_settings("mae", epochs=5).layer_decay
        0.65
        >>> fine_tune_settings("swav")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: there are no settings "swav" of fine-tuning. ... There are mae, mae_large, beit, ...
    """
    if isinstance(settings, str):
        if settings not in FINE_TUNE_SETTINGS:
            hint = did_you_mean(settings, FINE_TUNE_SETTINGS)
            names = ", ".join(FINE_TUNE_SETTINGS)
            raise UsageError(f'there are no settings "{settings}" of fine-tuning.{hint} There are {names}.')
        settings = FINE_TUNE_SETTINGS[settings]
    elif isinstance(settings, Mapping):
        settings = FineTuneSettings(**settings)
    known = [name for name in FineTuneSettings.__dataclass_fields__ if name not in ("source", "batch_size")]
    for name in changes:
        if name not in known:
            raise UsageError(f'settings of fine-tuning have no "{name}".{did_you_mean(name, known)}')
    return replace(settings, **changes)
