"""The first layers of a network alone: those up to one whose maps are wanted."""

from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from sslbolts.networks.modes import eval_mode
from sslbolts.networks.taps import find_layer, maps_of
from sslbolts.networks.widths import blank_images

__all__ = ["freeze_behind", "maps_until"]

_SIZE = 96  # pixels; networks with a stem for large images have maps of a few pixels then


class _Reached(Exception):
    def __init__(self, output: Any) -> None:
        self.output = output


def maps_until(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """The maps of a layer, behind which nothing is computed.

    Args:
        network: any module on images; not one that is compiled.
        name: of one of its layers, see :func:`~sslbolts.networks.taps.find_layer`; of one that runs several times, its
            first run counts.
        images: ``(B, C, H, W)``.

    Returns:
        ``(B, D, h, w)``; gradients pass.

    Raises:
        UsageError: for a layer that is not there, that the network does not run, or whose output is no map.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(5, 8, 3))  # which fits nothing
        >>> maps_until(network, "1", torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 8, 6, 6])
    """
    layer = find_layer(network, name, advice="Give another layer.")

    def stop(module: nn.Module, inputs: Any, output: Any) -> NoReturn:
        raise _Reached(output)

    handle = layer.register_forward_hook(stop)
    output = None
    try:
        network(images)
    except _Reached as reached:
        output = reached.output
    finally:
        handle.remove()
    return maps_of(output, name, layer, network)


def freeze_behind(network: nn.Module, name: str, in_chans: int = 3) -> int:
    """Freezes the parameters that a layer's maps do not depend on, which no loss on them would train.

    Args:
        network: any module on images.
        name: of one of its layers.
        in_chans: channels of the images.

    Returns:
        Channels of the maps.

    Raises:
        UsageError: as :func:`maps_until`.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
        >>> freeze_behind(network, "0"), [p.requires_grad for p in network.parameters()]
        (8, [True, True, False, False])
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    with torch.enable_grad(), eval_mode(network):
        maps = maps_until(network, name, blank_images(network, in_chans, _SIZE, count=2))
        gradients = torch.autograd.grad(maps.sum(), trained, allow_unused=True) if maps.requires_grad else ()
    for p, gradient in zip(trained, gradients or [None] * len(trained)):
        p.requires_grad_(gradient is not None)
    return maps.shape[1]
