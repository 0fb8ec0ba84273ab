"""The maps inside a network, before they are pooled."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["feature_maps", "last_stages", "map_widths"]


def feature_maps(network: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """Outputs of some of a network's layers, from one forward pass.

    Args:
        network: any module.
        layers: names of submodules, as ``named_modules`` gives them, e.g. ``"layer3"`` of a ResNet.
        images: ``(B, C, H, W)``.

    Returns:
        One ``(B, C_l, H_l, W_l)`` per layer.

    Raises:
        UsageError: for a layer that is not there, that the network does not run, or whose output is no map.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        >>> [tuple(m.shape) for m in feature_maps(network, ["0", "1"], torch.zeros(2, 3, 8, 8))]
        [(2, 8, 4, 4), (2, 8, 4, 4)]
    """
    found: dict[str, Any] = {}
    handles = []
    try:
        for name in layers:
            layer = _layer(network, name)
            handles.append(layer.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out)))
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    for name in layers:
        if not isinstance(found.get(name), Tensor) or found[name].dim() != 4:
            shape = tuple(found[name].shape) if isinstance(found.get(name), Tensor) else "nothing"
            raise UsageError(
                f'layer "{name}" of {type(network).__name__} gives {shape}, not maps (B, C, H, W): name a layer before '
                "the pooling."
            )
    return [found[name] for name in layers]


def map_widths(network: nn.Module, layers: Sequence[str], in_chans: int = 3) -> list[int]:
    """Numbers of channels of some layers' maps, without disturbing batch-norm statistics.

    Args:
        network: any module.
        layers: names of submodules.
        in_chans: channels of the images.

    Example:
        >>> map_widths(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), ["1"])
        [8]
    """
    modes = {module: module.training for module in network.modules()}
    example = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, in_chans, 64, 64, device=example.device, dtype=example.dtype)
    network.eval()
    try:
        with torch.no_grad():
            return [maps.shape[1] for maps in feature_maps(network, layers, image)]
    finally:
        for module, training in modes.items():
            module.training = training


def last_stages(network: nn.Module, count: int = 2) -> list[str]:
    """Names of a network's last stages: those that timm lists in ``feature_info``, or ``layer3`` and ``layer4``.

    Args:
        network: a network of timm, a ResNet of torchvision, or any module with ``feature_info``, a sequence of
            ``{"module": name, ...}``.
        count: how many.

    Raises:
        UsageError: if the network has neither.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> last_stages(create_backbone("timm/resnet18")), last_stages(create_backbone("torchvision/resnet18"), 1)
        (['layer3', 'layer4'], ['layer4'])
    """
    info = getattr(network, "feature_info", None)
    if info is not None:
        names = [stage["module"] for stage in (info.info if hasattr(info, "info") else info)]
    else:
        names = [name for name in ("layer1", "layer2", "layer3", "layer4") if hasattr(network, name)]
    if len(names) < count:
        raise UsageError(
            f"the stages of {type(network).__name__} are not known: name the layers whose maps are to be used, as its "
            "named_modules() gives them."
        )
    return names[-count:]


def _layer(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        names = [known for known, _ in network.named_modules() if known]
        raise UsageError(
            f'{type(network).__name__} has no layer "{name}".{did_you_mean(name, names)} Its named_modules() are '
            f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
        ) from None
