"""Two disjoint networks in one: one sees the lightness of an image, the other its colors."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.networks.taps import Tap, block_names, maps_of
from sslbolts.networks.widths import feature_width, first_convolution

__all__ = ["SplitNetwork"]


class SplitNetwork(nn.Module):
    """Features of L and of ab, side by side, from two networks that share nothing: ``(B, 3, H, W) -> (B, D + D')``.

    Where both networks' blocks are known and alike, ``blocks`` has the maps of both after each block, side by side, for
    who listens there (probes of layers, ``feature_layer``): ``"blocks.0"`` is the first.

    Args:
        lightness: takes one channel.
        color: takes two.

    Raises:
        UsageError: for networks of other channels, or that share a layer: one batch norm for both would tell each of
            the other's images.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> network = SplitNetwork(create_backbone("resnet18", in_chans=1), create_backbone("resnet18", in_chans=2))
        >>> network.num_features, network(torch.zeros(2, 3, 64, 64)).shape
        (1024, torch.Size([2, 1024]))
    """

    def __init__(self, lightness: nn.Module, color: nn.Module) -> None:
        super().__init__()
        for name, network, channels in (("lightness", lightness, 1), ("color", color, 2)):
            first = first_convolution(network)
            if first is not None and first.in_channels != channels:
                raise UsageError(
                    f"the network of {name} takes {first.in_channels} channels, and must take {channels}: make it with "
                    f"in_chans={channels}."
                )
        parts = [{id(part) for part in (*half.modules(), *half.parameters())} for half in (lightness, color)]
        if parts[0] & parts[1]:
            raise UsageError("both networks have a part in common: make two, since neither may see the other's images.")
        self.lightness = lightness
        self.color = color
        self.num_features = feature_width(lightness) + feature_width(color)
        self.names = names = _common_blocks(lightness, color)
        self.blocks = nn.ModuleList(nn.Identity() for _ in names)
        self.feature_info = tuple({"module": f"blocks.{number}"} for number in range(len(names)))

    @property
    def halves(self) -> tuple[nn.Module, nn.Module]:
        """The networks of lightness and of color."""
        return self.lightness, self.color

    def forward(self, lab: Tensor) -> Tensor:
        """Features of Lab images; those of L come first."""
        lightness, color = lab[:, :1], lab[:, 1:]
        if not any(block._forward_hooks for block in self.blocks):  # noqa: SLF001  # torch has no public name for it
            return torch.cat([self.lightness(lightness), self.color(color)], 1)
        of_lightness, lightness_maps = self._listened(self.lightness, lightness)
        of_color, color_maps = self._listened(self.color, color)
        for block, *both in zip(self.blocks, lightness_maps, color_maps):
            block(torch.cat(both, 1))
        return torch.cat([of_lightness, of_color], 1)

    def _listened(self, network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of one half, and its maps after each block."""
        layers = [network.get_submodule(name) for name in self.names]
        with ExitStack() as stack:
            taps = [stack.enter_context(Tap(layer)) for layer in layers]
            features: Tensor = network(x)
        maps = [maps_of(tap.outputs[-1], name, tap.layer, network) for name, tap in zip(self.names, taps)]
        return features, maps


def _common_blocks(lightness: nn.Module, color: nn.Module) -> list[str]:
    try:
        names = block_names(lightness)
        return names if names == block_names(color) else []
    except UsageError:  # of networks whose blocks are not known there are none to listen to
        return []
