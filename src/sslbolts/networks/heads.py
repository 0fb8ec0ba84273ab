"""The MLP that projectors and predictors are made of, and the heads that are more than that."""

from itertools import pairwise
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from sslbolts.errors import UsageError

__all__ = ["DINOHead", "LastNorm", "mlp"]

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


class DINOHead(nn.Module):
    """Three linear layers, L2 normalization, and prototypes of norm one: DINO's projector.

    Args:
        in_dim: width of the backbone's features.
        hidden_dim: width of the two hidden layers, each followed by GELU.
        bottleneck_dim: width of what is normalized.
        out_dim: number of prototypes `K`, rows of the weight-normalized last layer.
        batch_norm: batch norm after each hidden layer.
        norm_last_layer: keep the norm of each prototype at 1; if not, it is learned.

    Attributes:
        last_layer: the prototypes, apart because they are frozen at first.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> import torch
        >>> head = DINOHead(384, 2048, 256, 1000)
        >>> head(torch.ones(2, 384)).shape, head.last_layer.parametrizations.weight.original0.requires_grad
        (torch.Size([2, 1000]), False)
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        bottleneck_dim: int,
        out_dim: int,
        *,
        batch_norm: bool = False,
        norm_last_layer: bool = True,
    ) -> None:
        super().__init__()
        if min(in_dim, hidden_dim, bottleneck_dim, out_dim) < 1:
            raise UsageError(
                f"in_dim={in_dim}, hidden_dim={hidden_dim}, bottleneck_dim={bottleneck_dim}, out_dim={out_dim}: widths "
                "are positive."
            )
        layers: list[nn.Module] = []
        for width in (in_dim, hidden_dim):
            layers.append(nn.Linear(width, hidden_dim))
            if batch_norm:
                layers.append(nn.BatchNorm1d(hidden_dim))
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden_dim, bottleneck_dim))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        # The parametrization can be copied into a teacher, which a module with the older hook cannot.
        self.last_layer = weight_norm(_LastLayer(bottleneck_dim, out_dim, bias=False))
        norms = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(norms).requires_grad_(not norm_last_layer)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_dim)`` of features ``(B, in_dim)``: cosines where the prototypes' norm is 1."""
        logits: Tensor = self.last_layer(F.normalize(self.mlp(x), dim=1))
        return logits


class _LastLayer(nn.Linear):
    """A linear layer that can be pickled when its weight is parametrized, too, which torch refuses."""

    def __reduce__(self) -> Any:
        kept = {name: value for name, value in self.__dict__.items() if name != "_load_state_dict_pre_hooks"}
        return _empty_last_layer, (), kept  # that hook is a function within torch's, and the new layer has its own


def _empty_last_layer() -> nn.Module:
    layer: nn.Module = weight_norm(_LastLayer(1, 1, bias=False, device="meta"))
    return layer
