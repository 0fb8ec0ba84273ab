"""The embedder of time-contrastive networks: positions of what maps show, and fully connected layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["SpatialSoftmax", "frame_embedder", "spatial_embedder"]


class SpatialSoftmax(nn.Module):
    """The mean position of each map under the softmax of its values: ``(B, C, H, W) -> (B, 2 C)``.

    All columns, from -1 on the left to 1 on the right, then all rows, from -1 at the top to 1.

    Source: Finn et al., Deep Spatial Autoencoders for Visuomotor Learning, ICRA 2016, arXiv:1509.06113.

    Example:
        >>> maps = torch.zeros(1, 1, 3, 5)
        >>> maps[0, 0, 2, 0] = 100.0
        >>> SpatialSoftmax()(maps).tolist()
        [[-1.0, 1.0]]
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Positions ``(B, 2 C)``."""
        height, width = maps.shape[2:]
        weights = maps.flatten(2).softmax(2).view_as(maps)
        across = torch.linspace(-1, 1, width, device=maps.device, dtype=weights.dtype)
        down = torch.linspace(-1, 1, height, device=maps.device, dtype=weights.dtype)
        return torch.cat((weights.sum(2) @ across, weights.sum(3) @ down), 1)


def frame_embedder(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Fully connected layers, each followed by a batch norm without scale, and all but the last by a ReLU.

    Args:
        widths: input, hidden and output widths.
        dropout: probability, of the input and of hidden units.

    Returns:
        ``(B, widths[0]) -> (B, widths[-1])``.

    Example:
        >>> embedder = frame_embedder(2048, 512, 32)
        >>> [name for name, p in embedder.named_parameters() if p.requires_grad]
        ['1.weight', '2.bias', '5.weight', '6.bias']
    """
    layers: list[nn.Module] = []
    for width, out in pairwise(widths):
        norm = nn.BatchNorm1d(out, eps=1e-3, momentum=1e-3)
        norm.weight.requires_grad_(False)  # stays 1
        layers += [nn.Dropout(dropout), nn.Linear(width, out, bias=False), norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def spatial_embedder(channels: int, *widths: int, dropout: float = 0.0, convolutions: int = 512) -> nn.Sequential:
    """Two convolutions, the spatial softmax, and fully connected layers as of :func:`frame_embedder`.

    Args:
        channels: of the maps.
        widths: hidden and output widths.
        dropout: probability, of the maps, of positions and of hidden units.
        convolutions: channels of the two.

    Returns:
        ``(B, channels, H, W) -> (B, widths[-1])``.

    Example:
        >>> spatial_embedder(288, 2048, 32)(torch.zeros(2, 288, 35, 35)).shape
        torch.Size([2, 32])
    """
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Conv2d(channels, convolutions, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(convolutions, convolutions, 3, padding=1),
        nn.ReLU(inplace=True),
        SpatialSoftmax(),
        *frame_embedder(2 * convolutions, *widths, dropout=dropout),
    )
