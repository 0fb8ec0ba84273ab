"""A trunk that several tasks share, as each of them sees it."""

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.networks.taps import block_names, feature_maps, map_shapes
from sslbolts.networks.widths import feature_width, first_convolution

__all__ = ["SharedTrunk"]


class SharedTrunk(nn.Module):
    r"""A network that belongs to several tasks, as one of them sees it: ``(B, C, H, W) -> (B, num_features)``.

    Images of one channel are repeated over as many as the network takes. Layers of the network keep their names.

    With ``layers`` the features are the mean over the pixels of :math:`\sum_u \alpha_u M_u`, where the `M_u` are these
    layers' maps; so a task says what it reads, and an L1 norm on `alpha` that it reads little.

    Args:
        backbone: the network, which is shared.
        layers: names of layers, whose maps have one size and width.

    Attributes:
        maps: module whose output is the sum of maps, under this name for those who read maps.
        alpha: ``(U,)``, one over the number of layers at first; None without layers.

    Raises:
        UsageError: for layers that are not there, or whose maps do not have one size and width.

    Source: Doersch and Zisserman, Multi-task Self-Supervised Visual Learning, ICCV 2017, arXiv:1708.07860.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> trunk = SharedTrunk(network, ["0", "1"])
        >>> trunk(torch.rand(2, 1, 16, 16)).shape, trunk.alpha.tolist()
        (torch.Size([2, 8]), [0.5, 0.5])
    """

    def __init__(self, backbone: nn.Module, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = tuple(layers)
        self.maps = nn.Identity()
        self.alpha: nn.Parameter | None = None
        if layers:
            self.num_features = _common_shape(backbone, self.layers)[1]
            self.alpha = nn.Parameter(torch.full((len(layers),), 1 / len(layers)))
            self.feature_info = [{"module": "maps"}]
        else:
            self.num_features = feature_width(backbone)
            with suppress(UsageError):  # where blocks are not known, who reads maps names a layer
                self.feature_info = [{"module": f"backbone.{name}"} for name in block_names(backbone)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.fed(x)
        if self.alpha is None:
            features: Tensor = self.backbone(x)
            return features
        maps = torch.stack(feature_maps(self.backbone, self.layers, x))  # (U, B, D, h, w)
        read: Tensor = self.maps(torch.einsum("u,u...->...", self.alpha.to(maps.dtype), maps))  # (B, D, h, w)
        return read.mean((2, 3))

    def fed(self, images: Tensor) -> Tensor:
        """Images as the network takes them: one channel repeated over all that it has."""
        first = first_convolution(self.backbone)
        if first is None or images.shape[1] != 1:
            return images
        return images.expand(-1, first.in_channels, -1, -1)


def _common_shape(network: nn.Module, layers: Sequence[str]) -> torch.Size:
    first = first_convolution(network)
    shapes = map_shapes(network, layers, 3 if first is None else first.in_channels)
    if len(set(shapes)) > 1:
        found = ", ".join(f"{name} {tuple(shape[1:])}" for name, shape in zip(layers, shapes))
        raise UsageError(
            f"layers whose maps are added must have one width and size, but of 64 pixels there are {found}: name the "
            "blocks of one stage."
        )
    return shapes[0]
