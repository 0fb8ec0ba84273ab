"""The one batch type that training steps receive."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["ViewBatch"]


class ViewBatch(NamedTuple):
    """Several random views of the same images.

    Lightning moves it between devices, and a DataLoader pins and collates it, as the named tuple that it is.

    Attributes:
        views: one tensor per view, each ``(B, C, H_v, W_v)``: float, augmented and normalized, by the time a training
            step sees it (``uint8`` where the photometric part is still to be done on the device).
        targets: ``(B,)`` int64 class labels, -1 where an image has none.
        indices: ``(B,)`` int64 row of each image in its dataset.

    Example:
        >>> import torch
        >>> batch = ViewBatch([torch.rand(8, 3, 32, 32)] * 2, torch.full((8,), -1), torch.arange(8))
        >>> len(batch.views), tuple(batch.targets.shape)
        (2, (8,))
    """

    views: list[Tensor]
    targets: Tensor
    indices: Tensor
