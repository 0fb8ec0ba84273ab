"""Networks of the usual forms at a hundredth of their size, whose names timm and the reader of checkpoints know.

A file of them is read as one of the whole network is: its form is told from names and shapes.
"""

from typing import Any

import timm
import torchvision
from timm.models import register_model
from torch import nn
from torchvision.models.resnet import BasicBlock

NARROW_RESNETS = {((2, 2, 2, 2), 2, 8, 8): "narrow_resnet18"}
SHORT_VITS = {(192, 2): "short_vit_tiny", (384, 2): "short_vit_small"}


@register_model
def narrow_resnet18(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """timm's ResNet-18 of an eighth of the channels behind the first convolution."""
    return timm.create_model("resnet18", channels=(8, 16, 32, 64), **arguments)


@register_model
def short_vit_tiny(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """The first 2 of 12 blocks."""
    return timm.create_model("vit_tiny_patch16_224", depth=2, **arguments)


@register_model
def short_vit_small(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """The first 2 of 12 blocks."""
    return timm.create_model("vit_small_patch16_224", depth=2, **arguments)


class NarrowResNet18(torchvision.models.ResNet):
    """torchvision's, of the same form, without classifier: ``(B, 3, H, W) -> (B, 64)``."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], **arguments)
        self.fc = nn.Identity()

    def _make_layer(self, block: type[nn.Module], planes: int, *others: Any, **arguments: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *others, **arguments)
