"""A teacher that needs no training: what patches of images respond to."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.data.cifar import _packaged

_SIZE, _COUNT = 6, 64


class PatchResponses(nn.Module):
    """Whitened patches of the packaged images as filters, ReLU, means over quarters: ``(B, 3, 32, 32) -> (B, 256)``.

    20-NN on these features classifies 42 % of the packaged test images, after Coates and Ng (2011).
    """

    num_features = 4 * _COUNT
    feature_info = ({"module": "maps"},)

    def __init__(self) -> None:
        super().__init__()
        self.maps = _Maps()

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.maps(x), 2).flatten(1) - _filters_and_mean()[1]


class _Maps(nn.Module):
    """``(B, 3, 32, 32) -> (B, 64, 14, 14)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, _filters_and_mean()[0], stride=2).relu()


def _responses(x: Tensor, filters: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(F.conv2d(x, filters, stride=2).relu(), 2).flatten(1)


@cache
def _filters_and_mean() -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (CIFAR10MiniDataModule.pixel_mean, CIFAR10MiniDataModule.pixel_std)
    )
    images = (_packaged("train").data[::5].float() / 255 - mean) / std
    patches = F.unfold(images, _SIZE, stride=13).transpose(1, 2).flatten(0, 1)  # nine of each image
    patches = patches - patches.mean(1, keepdim=True)
    patches = patches / (patches.std(1, keepdim=True) + 0.3)
    centered = patches - patches.mean(0)
    variances, axes = torch.linalg.eigh(centered.T @ centered / len(centered))
    whitening = axes @ torch.diag((variances + 0.1).rsqrt()) @ axes.T
    chosen = torch.randperm(len(centered), generator=torch.Generator().manual_seed(0))[:_COUNT]
    filters = F.normalize(centered[chosen] @ whitening, dim=1) @ whitening
    filters = (filters - filters.mean(1, keepdim=True)).view(_COUNT, 3, _SIZE, _SIZE)
    return filters, _responses(images, filters).mean(0)
