"""Common ground of methods that see images as lightness and colors."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import at_least
from sslbolts.errors import UsageError
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.transforms.lab import ab_bins, lab_to_rgb, nearest_bins, rgb_to_lab

__all__ = [
    "LabModule",
    "as_maps",
    "binned",
    "gray_and_colored",
    "lightness_alone",
    "pixels",
    "pixels_at",
    "refuse_other_data",
    "refuse_other_images",
    "scaled_lab",
]

_TOLERANCE = 0.01  # about [0, 1]; bicubic resizing goes a little beyond


def scaled_lab(lab: Tensor) -> Tensor:
    """Lab as networks take it, ``(L - 50) / 50`` and ``ab / 50``; papers leave out the 50, which batch norm undoes."""
    return torch.cat([lab[:, :1] - 50, lab[:, 1:]], 1) / 50


def lightness_alone(images: Tensor) -> Tensor:
    """RGB images ``(B, 3, H, W)`` in [0, 1] without colors: the L of Lab, in [0, 1], in each of three channels."""
    return (rgb_to_lab(images)[:, :1] / 100).to(images.dtype).expand(-1, 3, -1, -1)


def pixels(maps: Tensor) -> Tensor:
    """The pixels ``(B * h * w, C)`` of maps ``(B, C, h, w)``."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def pixels_at(size: Sequence[int], maps: Tensor) -> Tensor:
    """The pixels ``(B * h * w, C)`` of maps that are resized to ``size``, `h` and `w`, bilinearly."""
    same = tuple(maps.shape[2:]) == tuple(size)
    return pixels(maps if same else F.interpolate(maps, size=tuple(size), mode="bilinear"))


def as_maps(rows: Tensor, like: Tensor) -> Tensor:
    """Pixels ``(B * h * w, C)`` as maps ``(B, C, h, w)``; `B`, `h` and `w` are those of ``like``."""
    return rows.view(len(like), like.shape[2], like.shape[3], -1).permute(0, 3, 1, 2)


def gray_and_colored(lab: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
    """Lab images ``(B, 3, H, W)`` in RGB without their colors, and with colors ``(B, 2, h, w)``, which are resized."""
    ab = F.interpolate(ab.to(lab.dtype), size=lab.shape[2:], mode="bilinear")
    return lab_to_rgb(F.pad(lab[:, :1], (0, 0, 0, 0, 0, 2))), lab_to_rgb(torch.cat([lab[:, :1], ab], 1))


def binned(images: Tensor) -> Tensor:
    """Images in [0, 1] with the colors of every fourth pixel, as the nearest bins have them."""
    lab = rgb_to_lab(images)
    ab = lab[:, 1:, ::4, ::4]
    ab = as_maps(ab_bins(ab.device, ab.dtype)[nearest_bins(pixels(ab))], ab)
    ab = F.interpolate(ab, size=lab.shape[2:], mode="nearest")
    return lab_to_rgb(torch.cat([lab[:, :1], ab], 1))


class LabModule(PretextModule):
    """A pretext method on images in [0, 1], which it sees in Lab.

    Args:
        bias_lr_scale: learning rate of biases and norms, which are not decayed, over that of the weights.
        backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones, network: see
            :class:`~sslbolts.methods.pretext.base.PretextModule`.

    Raises:
        UsageError: for a negative scale; when a run starts, for images that are not RGB in [0, 1].
    """

    starts_at_identity = True
    milestone_factor = 0.1**0.5  # the published 3e-5, 1e-5, 3e-6 and 1e-6, which are rounded to one digit

    def __init__(
        self,
        backbone: BackboneLike,
        optimizer: OptimizerCallable,
        lr_scaling: LRScaling,
        warmup_epochs: float,
        final_lr: float,
        *,
        bias_lr_scale: float,
        milestones: Sequence[float],
        **network: Unpack[PretextArguments],
    ) -> None:
        at_least(0, bias_lr_scale=bias_lr_scale)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.bias_lr_scale = bias_lr_scale
        self._looked_at: set[bool] = set()  # True after the first batch of training, False after that of evaluation

    def image_channels(self) -> int | None:
        return 3

    def lab(self, images: Tensor) -> Tensor:
        """Lab ``(B, 3, H, W)`` of images in [0, 1]; the first ones of training, and of evaluation, are looked at.

        Raises:
            UsageError: if those were normalized, or are not RGB.
        """
        if self.training not in self._looked_at:
            refuse_other_images(images, type(self).__name__)
            self._looked_at.add(self.training)
        return rgb_to_lab(images)

    def setup(self, stage: str) -> None:
        """Refuses a DataModule that normalizes images, before any of them is made."""
        self._looked_at.clear()
        refuse_other_data(getattr(self.trainer, "datamodule", None), type(self).__name__)
        super().setup(stage)


def refuse_other_data(data: Any, name: str) -> None:
    """Refuse a DataModule whose images are normalized, or have other than three channels."""
    channels = getattr(data, "in_chans", 3)
    if channels != 3:
        raise UsageError(f"{name} sees colors, but the data has in_chans={channels}: give it in_chans=3.")
    if isinstance(getattr(data, "mean", None), tuple | list):
        raise UsageError(
            f"{name} takes images in [0, 1], but {type(data).__name__} normalizes them: give it views= with "
            "normalize=False, and leave mean= and std= out."
        )


def refuse_other_images(images: Tensor, name: str) -> None:
    """Refuse images that are not RGB in [0, 1]; waits for the device."""
    if images.shape[1] != 3:
        raise UsageError(f"{name} takes RGB images, but these have {images.shape[1]} channels.")
    if not images.numel():
        return
    least, most = torch.stack(torch.aminmax(images.detach().float())).tolist()
    if not -_TOLERANCE <= least <= most <= 1 + _TOLERANCE:
        raise UsageError(
            f"{name} takes images in [0, 1], but these are in [{least:.3g}, {most:.3g}]: leave the normalization out; "
            "a DataModule of sslbolts does with views= that have normalize=False."
        )
