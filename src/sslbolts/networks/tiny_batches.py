"""Batch norms on a batch of one image, which has no statistics of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["batch_normalized", "running_statistics"]


def batch_normalized(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """``norm(x)`` of rows ``(N, D)``; one row alone is normalized by the statistics of the rows before it.

    The last batch of a pass may be one image, which is not left out: all processes make the same steps.

    Example:
        >>> import torch
        >>> batch_normalized(nn.BatchNorm1d(2, affine=False, eps=0.0), torch.tensor([[3.0, 4.0]])).tolist()
        [[3.0, 4.0]]
    """
    if norm.training and len(x) == 1:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    normalized: Tensor = norm(x)
    return normalized


@contextmanager
def running_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms of a network in training use the statistics of the images before, and leave them.

    Synchronized ones do not: they have the other processes' images.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.BatchNorm1d(2))
        >>> with running_statistics(network):
        ...     tuple(network(torch.zeros(1, 2)).shape), network[0].training
        ((1, 2), False)
        >>> network[0].training
        True
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    norms = [module for module in network.modules() if isinstance(module, kinds) and module.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
