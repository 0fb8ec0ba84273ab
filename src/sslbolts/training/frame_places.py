"""The sequence and the time of every frame, for methods that compare frames by them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["FramePlaces", "frame_places"]


class FramePlaces(NamedTuple):
    """The place of every frame of a dataset, by its row: a batch carries rows, its ``indices``, and no more.

    Attributes:
        sequences: ``(N,)`` int64, equal for frames of one sequence, whatever their view.
        times: ``(N,)`` int64, the frame's place in its sequence.
    """

    sequences: Tensor
    times: Tensor

    def to(self, device: torch.device) -> "FramePlaces":
        """The same on a device."""
        return FramePlaces(self.sequences.to(device), self.times.to(device))


def frame_places(loader: Any) -> FramePlaces:
    """The places of the frames that a training loader gives: its dataset's attribute ``frame_places``.

    Args:
        loader: a DataLoader, of whatever make.

    Raises:
        UsageError: if its dataset has no such attribute.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> frames = TensorDataset(torch.zeros(4, 3, 8, 8))
        >>> frames.frame_places = FramePlaces(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
        >>> frame_places(DataLoader(frames)).times.tolist()
        [0, 1, 0, 1]
    """
    places = getattr(getattr(loader, "dataset", None), "frame_places", None)
    if not isinstance(places, FramePlaces):
        raise UsageError(
            "these training images have no time: use VideoFramesDataModule or MovingImagesDataModule, or give your "
            "dataset the attribute frame_places, FramePlaces(sequences, times) of sslbolts.training.frame_places."
        )
    return places
