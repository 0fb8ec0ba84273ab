"""Random numbers for the images of this rank, out of those drawn for all ranks: their number changes nothing."""

import torch
from torch import Tensor

from sslbolts.distributed import rank, world_size

__all__ = ["integers", "normal", "uniform"]


def uniform(*shape: int, generator: torch.Generator, images: int = 0) -> Tensor:
    """Numbers in [0, 1) for the images of this rank.

    Args:
        shape: of the result; one of its dimensions counts the images, equally many on every rank.
        generator: in the same state on all ranks; its device is that of the numbers.
        images: which dimension that is.

    Example:
        >>> uniform(4, 2, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 2])
    """
    drawn = torch.rand(_for_all_ranks(shape, images), generator=generator, device=generator.device)
    return drawn.narrow(images, rank() * shape[images], shape[images])


def integers(*shape: int, below: int, generator: torch.Generator, images: int = 0) -> Tensor:
    """As :func:`uniform`, whole numbers of 0 to ``below - 1``.

    Example:
        >>> integers(3, 4, below=2, generator=torch.Generator().manual_seed(0), images=1).unique().tolist()
        [0, 1]
    """
    drawn = torch.randint(below, _for_all_ranks(shape, images), generator=generator, device=generator.device)
    return drawn.narrow(images, rank() * shape[images], shape[images])


def normal(*shape: int, generator: torch.Generator, images: int = 0) -> Tensor:
    """As :func:`uniform`, standard normal numbers.

    Example:
        >>> normal(4, 2, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 2])
    """
    drawn = torch.randn(_for_all_ranks(shape, images), generator=generator, device=generator.device)
    return drawn.narrow(images, rank() * shape[images], shape[images])


def _for_all_ranks(shape: tuple[int, ...], images: int) -> list[int]:
    return [length * world_size() if dim == images else length for dim, length in enumerate(shape)]
