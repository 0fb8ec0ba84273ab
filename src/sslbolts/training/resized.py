"""Memories of every training image, whose number is known only when training starts or a checkpoint is read."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from sslbolts.training.memory import Memory

__all__ = ["ImageMemory", "mean_of_same_image", "resize_to_checkpoint"]


class ImageMemory(Memory):
    """A :class:`Memory` with rows for each training image, empty until their number is known.

    A subclass says with ``per_image`` which of its buffers has one row for each image, and defines :meth:`resize`. A
    method gives it its size in ``setup``; :class:`~sslbolts.SSLModule` does so when a checkpoint is loaded.

    Attributes:
        num_images: how many images it has rows for.
    """

    per_image: ClassVar[str] = "rows"

    @property
    def num_images(self) -> int:
        return len(self.get_buffer(self.per_image))

    def resize(self, num_images: int) -> None:
        """Start over, for so many images."""
        raise NotImplementedError(f"{type(self).__name__} must define resize(num_images).")


def mean_of_same_image(rows: Tensor, indices: Tensor) -> Tensor:
    """Each row as the mean of all rows of its image, so that an image that came twice is written twice alike.

    Where a memory is written row by row, its ranks then end up with the same.

    Args:
        rows: ``(B, ...)``.
        indices: ``(B,)``, the image of each row.

    Example:
        >>> import torch
        >>> mean_of_same_image(torch.tensor([[1.0], [3.0], [8.0]]), torch.tensor([4, 4, 7])).flatten().tolist()
        [2.0, 2.0, 8.0]
    """
    same = (indices[:, None] == indices).to(rows.dtype)
    return (same @ rows.flatten(1) / same.sum(1, keepdim=True)).view_as(rows)


def resize_to_checkpoint(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Give every empty :class:`ImageMemory` inside ``module`` the size that it has in a state dict.

    Example:
        >>> import torch
        >>> class Seen(ImageMemory):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.resize(0)
        ...     def resize(self, num_images):
        ...         self.register_buffer("rows", torch.zeros(num_images))
        >>> method = nn.ModuleDict({"seen": Seen()})
        >>> resize_to_checkpoint(method, {"seen.rows": torch.ones(3)})
        >>> method["seen"].num_images
        3
    """
    for name, memory in module.named_modules():
        if isinstance(memory, ImageMemory) and memory.num_images == 0 and f"{name}.{memory.per_image}" in state:
            memory.resize(len(state[f"{name}.{memory.per_image}"]))
