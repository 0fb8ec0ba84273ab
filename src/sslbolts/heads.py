"""The MLP that projectors and predictors are made of."""

from itertools import pairwise
from typing import Literal, get_args

from torch import nn

from sslbolts.errors import UsageError

__all__ = ["LastNorm", "mlp"]

LastNorm = Literal["none", "affine", "scale", "plain"]
"""Batch norm after the last layer: none, with scale and bias, with scale only (SimCLR), without either (SimSiam)."""


def mlp(
    *widths: int,
    batch_norm: bool = True,
    bias: bool = True,
    last_bias: bool = True,
    last_norm: LastNorm = "none",
) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them.

    Args:
        widths: input, hidden and output widths; at least two.
        batch_norm: batch norm after each hidden layer.
        bias: biases of the hidden linear layers.
        last_bias: bias of the last linear layer.
        last_norm: batch norm after the last linear layer.

    Returns:
        ``(B, widths[0]) -> (B, widths[-1])``.

    Raises:
        UsageError: if there are fewer than two widths, or one is not positive.

    Example:
        >>> mlp(512, 2048, 128, bias=False, last_bias=False, last_norm="scale")
        Sequential(
          (0): Linear(in_features=512, out_features=2048, bias=False)
          (1): BatchNorm1d(2048, eps=1e-05, momentum=0.1, affine=True, ...track_running_stats=True)
          (2): ReLU(inplace=True)
          (3): Linear(in_features=2048, out_features=128, bias=False)
          (4): BatchNorm1d(128, eps=1e-05, momentum=0.1, affine=True, ...track_running_stats=True)
        )
    """
    if len(widths) < 2 or min(widths) < 1:
        raise UsageError(f"widths={widths}: an MLP needs at least an input and an output width, all positive.")
    if last_norm not in get_args(LastNorm):
        raise UsageError(f"last_norm={last_norm!r}: it must be one of {', '.join(get_args(LastNorm))}.")
    layers: list[nn.Module] = []
    for width, hidden in pairwise(widths[:-1]):
        layers.append(nn.Linear(width, hidden, bias=bias))
        if batch_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias))
    if last_norm != "none":
        norm = nn.BatchNorm1d(widths[-1], affine=last_norm != "plain")
        if last_norm == "scale":
            norm.bias.requires_grad_(False)  # stays 0
        layers.append(norm)
    return nn.Sequential(*layers)
