"""A network of a model library by its name, and how that library prepares its images."""

from typing import Any

from torch import nn

from sslbolts.errors import UsageError
from sslbolts.networks.backbones import MissingWeights, create_backbone
from sslbolts.transforms.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

__all__ = ["LIBRARIES", "library_network"]

LIBRARIES = ("timm/", "torchvision/", "sslbolts/")
"""Beginnings of such names."""


def library_network(name: str, *, pretrained: bool, in_chans: int = 3) -> tuple[nn.Module, Preprocessing]:
    """A network of a library, and the preprocessing that it wants where this is known.

    Args:
        name: "timm/NAME", "torchvision/NAME" or "sslbolts/NAME".
        pretrained: with the library's weights, which may be downloaded; else untrained.
        in_chans: channels of the images.

    Raises:
        UsageError: if there is no such network, or its weights cannot be had.

    Example:
        >>> network, preprocessing = library_network("timm/resnet18", pretrained=False)
        >>> preprocessing.image_size, preprocessing.in_chans
        (224, 3)
    """
    weights: dict[str, Any] = {"pretrained": True} if name.startswith("timm/") else {"weights": "DEFAULT"}
    try:
        network = create_backbone(name, in_chans=in_chans, **(weights if pretrained else {}))
    except MissingWeights as error:
        raise UsageError(f"{error} The untrained network is had with pretrained=False (--untrained).") from error
    if config := getattr(network, "pretrained_cfg", None):
        mean, std, size = config.get("mean"), config.get("std"), config.get("input_size", (3, None, None))[-1]
        cut = {"interpolation": config.get("interpolation"), "crop_pct": config.get("crop_pct")}
    elif name.startswith("torchvision/"):  # ImageNet's, for all of its classifiers
        mean, std, size, cut = IMAGENET_MEAN, IMAGENET_STD, None, {}
    else:
        mean = std = size = None
        cut = {}
    known = mean is not None and std is not None and len(mean) == in_chans
    mean, std = (tuple(mean), tuple(std)) if known else (None, None)
    return network, Preprocessing(size, mean, std, in_chans, **cut)
