"""From a batch of anybody's images to what can be shown."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import Trainer
from sslbolts.batch import images_of, targets_of
from sslbolts.errors import UsageError
from sslbolts.transforms.levels import as_levels, pixels_of

__all__ = ["class_names_of", "displayable", "look_of", "targets_or_none"]


def displayable(images: Tensor, source: Any = None) -> Tensor:
    """Images in their own colors, ``(N, C, H, W)`` uint8 on the CPU.

    Args:
        images: ``(N, C, H, W)``, uint8 or uint16; or float, normalized with the ``mean`` and ``std`` of ``source``
            if it has them, else in [0, 1], else of any range: then the range of each image is stretched to what can
            be shown.
        source: the DataModule.

    Raises:
        UsageError: for anything else than images.

    Example:
        >>> displayable(torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 1, 3)).flatten().tolist()
        [0, 128, 255]
    """
    if images.ndim != 4 or images.shape[1] == 0:
        raise UsageError(f"pictures show images (N, C, H, W), got shape {tuple(images.shape)}.")
    images = images.detach().cpu()
    if images.dtype == torch.uint8 or not images.numel():
        return images.to(torch.uint8)
    if images.dtype == torch.uint16:
        return as_levels(pixels_of(images), torch.uint8)
    images = images.float()
    mean, std = getattr(source, "mean", None), getattr(source, "std", None)
    if _per_channel(mean, images) and _per_channel(std, images):
        images = images * _column(std) + _column(mean)
    elif not (float(images.min()) >= 0 and float(images.max()) <= 1):
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        images = (images - low) / (high - low).clamp(min=1e-12)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def look_of(trainer: Trainer) -> dict[str, Any]:
    """How the DataModule's images are shown, as arguments of what draws a sheet: channels, and a stretch of deep ones.

    Args:
        trainer: that runs.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    deep = getattr(data, "value_range", None) is not None
    return {"color_channels": getattr(data, "color_channels", None), "stretch": deep}


def targets_or_none(batch: Any, *, multi_label: bool = False) -> Tensor:
    """Labels ``(B,)`` of a batch, -1 where it has none, or several classes for an image: a picture can do without."""
    try:
        if multi_label:
            return torch.full((len(images_of(batch)),), -1)
        return targets_of(batch)
    except UsageError:
        return torch.full((len(images_of(batch)),), -1)


def class_names_of(trainer: Trainer, given: Sequence[str] | None, *labels: Tensor) -> Sequence[str] | None:
    """Names of the classes: those given, or the DataModule's, if there are enough of them for all labels."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    names: Sequence[str] | None = given if given is not None else getattr(datamodule, "class_names", None)
    largest = max((int(label.max()) for label in labels if len(label)), default=-1)
    return names if names is not None and len(names) > largest else None


def _per_channel(values: Any, images: Tensor) -> bool:
    return isinstance(values, Sequence | Tensor) and len(values) == images.shape[1]


def _column(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)
