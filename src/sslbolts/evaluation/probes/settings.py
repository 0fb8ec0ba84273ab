"""The papers' settings for a classifier on frozen features, as a frozen table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from sslbolts.checks import at_least, is_number, one_of, whole
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.base import LRScaling

__all__ = ["PROBE_SETTINGS", "ProbeSettings", "probe_settings", "settings_name", "with_own_lr"]

Optimizer = Literal["sgd", "lars", "larc", "adam"]
Decay = Literal["cosine", "steps", "constant"]
Norm = Literal["none", "batch_norm", "standardize", "l2"]


@dataclass(frozen=True)
class ProbeSettings:
    """Everything that the result of a probe depends on, besides the features.

    Args:
        source: where the values are from, and how they differ from what is said there.
        lr: learning rate for 256 images per step, >= 0.
        optimizer: "sgd", "lars" and "larc" with momentum 0.9 (see :mod:`sslbolts.optim`), or "adam".
        lr_scaling: how the learning rate follows the number B of images per step: ``lr * B / 256``,
            ``lr * sqrt(B / 256)``, or not.
        sweep: factors on the learning rate, each of which trains a head of its own in the same run.
        nesterov: of the momentum of SGD.
        betas: of Adam.
        weight_decay: >= 0, of all parameters (LARS: of the weights).
        epochs: passes over the training images.
        batch_size: images per step.
        warmup_epochs: epochs of linear rise from 0.
        decay: then half a cosine to 0; or times ``step_factor`` at each of ``milestones``; or no change.
        milestones: parts of the run in (0, 1).
        step_factor: of each milestone.
        norm: of the features: "batch_norm" without scale and shift; "standardize", by mean and deviation of all
            training features (which must be known: not on augmented images); "l2", each to length 1; or "none".
        weight_std: standard deviation of a linear head's first weights; 0 starts at zero.
        crop: least and greatest part of an image's area that its random crop covers; with a flip, this is all the
            augmentation there is.
        ratio: least and greatest width / height of the crop.
        padding: width of a black border around the image before the crop, in parts of its shorter side; see
            :class:`sslbolts.transforms.View`.
        interpolation: of the crop, "bilinear" or "bicubic".

    Raises:
        UsageError: for a value out of its range.

    Example:
        >>> ProbeSettings("mine", lr=0.1).optimizer
        'sgd'
    """

    source: str
    lr: float
    optimizer: Optimizer = "sgd"
    lr_scaling: LRScaling = "linear"
    sweep: tuple[float, ...] = (1.0,)
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    epochs: int = 100
    batch_size: int = 256
    warmup_epochs: float = 0.0
    decay: Decay = "cosine"
    milestones: tuple[float, ...] = ()
    step_factor: float = 0.1
    norm: Norm = "none"
    weight_std: float = 0.01
    crop: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    padding: float = 0.0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        one_of(get_args(Optimizer), optimizer=self.optimizer)
        one_of(get_args(LRScaling), lr_scaling=self.lr_scaling)
        one_of(get_args(Decay), decay=self.decay)
        one_of(get_args(Norm), norm=self.norm)
        at_least(0, lr=self.lr, weight_decay=self.weight_decay)
        at_least(0, warmup_epochs=self.warmup_epochs, weight_std=self.weight_std, padding=self.padding)
        whole(epochs=self.epochs, batch_size=self.batch_size)
        for name in ("sweep", "milestones", "betas", "crop", "ratio"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.sweep or not all(is_number(factor) and factor > 0 for factor in self.sweep):
            raise UsageError(f"sweep={self.sweep}: at least one factor is needed, and all must be positive.")
        if not all(is_number(milestone) and 0 < milestone < 1 for milestone in self.milestones):
            raise UsageError(f"milestones={self.milestones}: they are parts of the run, in (0, 1).")

    @property
    def lrs(self) -> tuple[float, ...]:
        """Learning rates of the heads for 256 images per step.

        Example:
            >>> ProbeSettings("mine", lr=0.5, sweep=(0.1, 1, 2)).lrs
            (0.05, 0.5, 1.0)
        """
        return tuple(self.lr * factor for factor in self.sweep)


_MOCO = ProbeSettings(
    "He et al., Momentum Contrast, CVPR 2020, arXiv:1911.05722, official code (MoCo v1 and v2)",
    lr=30.0,
    decay="steps",
    milestones=(0.6, 0.8),
)
_VICREG = ProbeSettings(
    "Bardes et al., VICReg, ICLR 2022, arXiv:2105.04906, official code",
    lr=0.02,
    lr_scaling="none",
    weight_decay=1e-6,
)
_SIMSIAM = ProbeSettings(
    "Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566, appendix A and "
    "official code",
    optimizer="larc",
    lr=0.1,
    epochs=90,
    batch_size=4096,
)
_ROTNET = ProbeSettings(
    "Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018, arXiv:1803.07728, "
    "official code on CIFAR-10 for a classifier with a block of convolutions on the maps of the second block: whole "
    "images with a black border of an eighth, moved and flipped",
    lr=0.1,
    lr_scaling="none",
    nesterov=True,
    weight_decay=5e-4,
    batch_size=128,
    decay="steps",
    milestones=(0.35, 0.7, 0.85),
    step_factor=0.2,
    crop=(0.64, 0.64),
    ratio=(1.0, 1.0),
    padding=1 / 8,
)

PROBE_SETTINGS: Mapping[str, ProbeSettings] = MappingProxyType(
    {
        "features": ProbeSettings(
            "this package's, for features that are computed once: softmax regression on standardized features",
            lr=0.1,
            sweep=(0.03, 0.1, 0.3, 1.0, 3.0),
            nesterov=True,
            batch_size=1024,
            norm="standardize",
            weight_std=0.0,
        ),
        "simclr": ProbeSettings(
            "Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, "
            "arXiv:2002.05709, appendices B.5 and B.6; the cosine and the start at zero are the official code's",
            lr=0.1,
            nesterov=True,
            epochs=90,
            batch_size=4096,
            weight_std=0.0,
            interpolation="bicubic",
        ),
        "moco": _MOCO,
        "byol": ProbeSettings(
            "Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv:2006.07733, appendix C.1: the best of "
            "several learning rates on held-out training images",
            lr=0.2,
            sweep=(0.25, 0.5, 1.0, 1.5, 2.0),
            nesterov=True,
            epochs=80,
            batch_size=1024,
            interpolation="bicubic",
        ),
        "simsiam": _SIMSIAM,
        "swav": ProbeSettings(
            "Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020, "
            "arXiv:2006.09882, official code",
            lr=0.3,
            lr_scaling="none",
            weight_decay=1e-6,
        ),
        "barlow": replace(
            _VICREG, source="Zbontar et al., Barlow Twins, ICML 2021, arXiv:2103.03230, official code", lr=0.3
        ),
        "vicreg": _VICREG,
        "dino": ProbeSettings(
            "Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294, "
            "official code; its ViT-S takes the class tokens of the last four blocks, and here are those of layer=",
            lr=0.001,
            batch_size=1024,
        ),
        "dinov2": ProbeSettings(
            "Oquab et al., DINOv2, TMLR 2024, arXiv:2304.07193, official code: thirteen learning rates at once, 12,500 "
            "steps; here in ten epochs, and on the features of layer= only",
            lr=1e-3,
            sweep=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
            epochs=10,
            batch_size=1024,
            interpolation="bicubic",
        ),
        "mae": replace(
            _SIMSIAM,
            source="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377, appendix "
            "A.1 and official code: batch norm without scale and shift before the classifier",
            optimizer="lars",
            batch_size=16384,
            warmup_epochs=10,
            norm="batch_norm",
            interpolation="bicubic",
        ),
        "amdim": ProbeSettings(
            "Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019, "
            "arXiv:1906.00910, official code for CIFAR and STL-10 (on ImageNet 30 epochs, times 0.2 at 15 and 25); "
            "there the images are augmented as in pre-training",
            optimizer="adam",
            lr=2e-4,
            lr_scaling="none",
            betas=(0.8, 0.999),
            weight_decay=1e-5,
            epochs=120,
            batch_size=200,
            decay="steps",
            milestones=(80 / 120, 110 / 120),
            step_factor=0.2,
        ),
        "rotnet_conv": _ROTNET,
        "rotnet_mlp": replace(
            _ROTNET,
            source=_ROTNET.source.replace("a block of convolutions", "two hidden layers"),
            milestones=(0.2, 0.4, 0.45),
        ),
    }
)
"""Recipes by name. ImageNet's are for features of width 2048 and about; the batch sizes are the papers'."""


def probe_settings(
    settings: str | ProbeSettings | Mapping[str, Any], *, lr: float | Sequence[float] | None = None, **changes: Any
) -> ProbeSettings:
    """Settings by name, with other values where they are given.

    Args:
        settings: a name of :data:`PROBE_SETTINGS`, a settings, or its values as a checkpoint holds them.
        lr: in place of theirs, for 256 images per step; of several, each trains a head of its own.
        **changes: other values in place of theirs; None leaves them.

    Raises:
        UsageError: for an unknown name or value.

    Example:
        >>> probe_settings("moco", epochs=10).lr
        30.0
        >>> probe_settings("byol", lr=0.3).lrs, probe_settings("dino", lr=[1, 2]).lrs
        ((0.3,), (1.0, 2.0))
    """
    if isinstance(settings, str):
        if settings not in PROBE_SETTINGS:
            hint = did_you_mean(settings, PROBE_SETTINGS)
            raise UsageError(
                f'there are no settings "{settings}" of a probe.{hint} There are {", ".join(PROBE_SETTINGS)}.'
            )
        settings = PROBE_SETTINGS[settings]
    elif isinstance(settings, Mapping):
        settings = ProbeSettings(**settings)
    changes = {name: value for name, value in changes.items() if value is not None}
    if isinstance(lr, Sequence):
        if not lr or not all(is_number(rate) and rate > 0 for rate in lr):
            raise UsageError(f"lr={list(lr)}: at least one learning rate is needed, and all must be positive.")
        changes |= {"lr": 1.0, "sweep": tuple(map(float, lr))}
    elif lr is not None:
        changes = {"lr": lr, "sweep": (1.0,), **changes}
    known = [field.name for field in fields(ProbeSettings)]
    for name in changes:
        if name not in known:
            raise UsageError(
                f'settings of a probe have no "{name}".{did_you_mean(name, known)} There are {", ".join(known)}.'
            )
    return replace(settings, **changes)


def settings_name(settings: ProbeSettings) -> str:
    """The name of settings in a result, with the values that are not those of their source.

    Example:
        >>> settings_name(probe_settings("moco")), settings_name(probe_settings("moco", lr=0.1, norm="l2"))
        ('moco', 'moco, with other values: lr=0.1, norm=l2')
        >>> settings_name(ProbeSettings("mine", lr=0.1))
        'given'
    """
    for name, published in PROBE_SETTINGS.items():
        if settings.source == published.source:
            other = [
                f"{field.name}={getattr(settings, field.name)}"
                for field in fields(ProbeSettings)
                if getattr(settings, field.name) != getattr(published, field.name)
            ]
            return f"{name}, with other values: {', '.join(other)}" if other else name
    return "given"


def with_own_lr(settings: ProbeSettings) -> ProbeSettings:
    """The settings with their own learning rate alone, where there is nothing to choose one of several on.

    Raises:
        UsageError: if none of the several is their own.

    Example:
        >>> with_own_lr(PROBE_SETTINGS["byol"]).lrs
        (0.2,)
    """
    if 1.0 not in settings.sweep:
        raise UsageError(
            f"no class has two labeled training images to choose one of lr={list(settings.lrs)} on: give one."
        )
    return replace(settings, sweep=(1.0,))
