"""Random numbers for the images of a batch that do not depend on how many ranks share them."""

import torch
from torch import Tensor

from sslbolts.distributed import rank, world_size

__all__ = ["uniform"]


def uniform(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` numbers in [0, 1) for each image of this rank, out of those drawn for the images of all ranks.

    Args:
        images: ``(B, ...)``, equally many on every rank.
        count: of numbers for each image.
        generator: on the images' device, in the same state on all ranks.

    Returns:
        ``(B, count)``.

    Example:
        >>> uniform(torch.zeros(4, 3, 8, 8), 2, torch.Generator().manual_seed(0)).shape
        torch.Size([4, 2])
    """
    rows = len(images)
    numbers = torch.rand(world_size() * rows, count, generator=generator, device=images.device)
    return numbers[rank() * rows : (rank() + 1) * rows]
