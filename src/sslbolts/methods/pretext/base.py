"""The base of pretext methods: features of an inner layer, and pictures of a network's inputs."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Unpack

import torch
from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.taps import find_layer, layer_outputs, pooled
from sslbolts.optim import OptimizerCallable

__all__ = ["PretextArguments", "PretextModule", "Shown"]


class PretextArguments(NetworkArguments, total=False):
    """Arguments that every pretext method passes on to :class:`PretextModule`, where the defaults are.

    Attributes:
        feature_layer: layer of the backbone whose pooled output :meth:`PretextModule.forward` gives, e.g. ``"layer3"``;
            None is the backbone's own features.
    """

    feature_layer: str | None


class Shown(NamedTuple):
    """What a network is shown of some images, for people to look at.

    Attributes:
        images: ``(N, 3, h, w)`` in [0, 1].
        labels: what the network must find out of each, `N` short texts.
    """

    images: Tensor
    labels: list[str]


class PretextModule(SSLModule):
    """A method whose last layers learn its task, and whose features may be those of an earlier layer.

    Args:
        backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones, network: see :class:`~sslbolts.SSLModule`.
        feature_layer: layer of the backbone whose pooled output :meth:`forward` gives; None is the backbone's own
            features. An exported backbone is the whole one, of which that layer is a part.

    Attributes:
        reads_inner_layer: whether the task is learned on an inner layer's maps, which compiled code does not give.

    Raises:
        UsageError: for a layer that the backbone does not have.
    """

    num_views: ClassVar[int | None] = 1
    reads_inner_layer: ClassVar[bool] = False

    def __init__(
        self,
        backbone: BackboneLike,
        optimizer: OptimizerCallable,
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        *,
        milestones: Sequence[float] = (),
        feature_layer: str | None = None,
        **network: Unpack[NetworkArguments],
    ) -> None:
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.feature_layer = feature_layer
        if feature_layer is not None:
            find_layer(self.backbone, feature_layer, advice="Give another feature_layer.")

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features ``(B, D)`` of the layer that is evaluated, of whole images ``(B, C, H, W)``."""
        x = self.prepare(x)
        if self.feature_layer is None:
            features: Tensor = self.backbone(x)
            return features
        layer = find_layer(self.backbone, self.feature_layer)
        (calls,) = layer_outputs(self.backbone, [layer], x)
        return pooled(calls[-1], self.feature_layer, layer=layer, network=self.backbone)

    def prepare(self, images: Tensor) -> Tensor:
        """What the backbone is fed, of images as the DataModule gives them: for methods on other channels than RGB."""
        return images

    def compile_network(self) -> None:
        if self.reads_inner_layer:
            rank_zero_warn(
                f"compile_backbone=True has no effect: {type(self).__name__} reads an inner layer of the backbone, "
                "which compiled code does not give. Leave it out."
            )
        else:
            super().compile_network()

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """What the network is shown of images ``(N, 3, H, W)`` in [0, 1], one entry per column of a picture."""
        raise NotImplementedError(f"{cls.__name__} has no examples(images, generator).")
