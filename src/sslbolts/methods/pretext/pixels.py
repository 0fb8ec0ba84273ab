"""Images in [0, 1], whose pixels a network generates."""

from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule
from sslbolts.errors import UsageError
from sslbolts.losses.inpainting import masked_mse

__all__ = ["error_of_mean", "refuse_normalized"]


def refuse_normalized(module: LightningModule) -> None:
    """Refuse a DataModule whose images are not in [0, 1].

    Raises:
        UsageError: if it subtracts a mean.
    """
    data: Any = getattr(module.trainer, "datamodule", None)
    if getattr(data, "mean", None) is not None:
        raise UsageError(
            f"{type(module).__name__} generates pixels in [0, 1], and {type(data).__name__} normalizes its images: "
            "take the method's own views, or views with normalize=False."
        )


def error_of_mean(outputs: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of generated images as a part of that of each image's mean color: 1 shows nothing of the image.

    Args:
        outputs: ``(B, C, H, W)``.
        images: ``(B, C, H, W)``.
        mask: ``(H, W)``, where it is measured; None is everywhere.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> error_of_mean(images.mean((2, 3), keepdim=True).expand_as(images), images).item()
        1.0
    """
    mask = torch.ones_like(images[0, 0]) if mask is None else mask
    mean = images.mean((2, 3), keepdim=True).expand_as(images)
    return masked_mse(outputs.detach(), images, mask) / masked_mse(mean, images, mask).clamp(min=1e-12)
