"""The channels that enter a network, the width of its features, and the blank images by which it is asked."""

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.networks.modes import eval_mode

__all__ = ["blank_images", "feature_width", "first_convolution"]


def blank_images(network: nn.Module, channels: int, side: int = 64, *, count: int = 1) -> Tensor:
    """Zeros ``(count, channels, side, side)`` on the device of a network, and of the type of its parameters.

    Example:
        >>> blank_images(nn.Conv2d(3, 8, 3).double(), 3).dtype
        torch.float64
    """
    example = next(network.parameters(), torch.empty(0))
    return torch.zeros(count, channels, side, side, device=example.device, dtype=example.dtype)


def feature_width(backbone: nn.Module) -> int:
    """Width ``D`` of a backbone's pooled features, without disturbing its batch-norm statistics.

    Read from ``feature_width``, ``head_hidden_size`` (timm) or ``num_features``; a module that has none of them is run
    once in eval mode on a blank 64x64 image.

    Raises:
        UsageError: if the module does not return pooled features.
    """
    for attribute in ("feature_width", "head_hidden_size", "num_features"):
        width = getattr(backbone, attribute, None)
        if isinstance(width, int):
            return width
    first = first_convolution(backbone)
    image = blank_images(backbone, first.in_channels if first else 3)
    try:
        with torch.no_grad(), eval_mode(backbone):
            features = backbone(image)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the feature width of {type(backbone).__name__} cannot be found by running it on a 64x64 image ({error}): "
            "set an integer attribute num_features on it."
        ) from error
    if not isinstance(features, Tensor) or features.dim() != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UsageError(
            f"{type(backbone).__name__} returned {shape} for one image; a backbone must return pooled features "
            "(B, D): add a global pooling layer."
        )
    return features.shape[1]


def first_convolution(network: nn.Module) -> nn.Conv2d | None:
    """The convolution that sees the images, as far as the order of a network's modules tells; None without any.

    Example:
        >>> first_convolution(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)))
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    return next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
