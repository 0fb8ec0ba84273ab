"""The method whose loss stands beside that of the labels, and the features that its loss was computed from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.methods.base import SSLModule
from sslbolts.methods.host import class_and_arguments, refuse_labels
from sslbolts.methods.pretext.base import PretextModule
from sslbolts.methods.semi_supervised.rotation import JointRotation
from sslbolts.networks.backbones import BackboneLike

__all__ = ["ROTATION", "features_of_images", "method_beside"]

ROTATION = f"{JointRotation.__module__}.{JointRotation.__qualname__}"


def method_beside(
    method: str | Mapping[str, Any] | SSLModule, backbone: BackboneLike | None, network: Mapping[str, Any]
) -> SSLModule:
    """The method, on the given network.

    Args:
        method: a name of the registry; ``class_path`` and ``init_args``; or a module, which has a network already.
        backbone: the network; None is a ResNet-50, or the module's.
        network: further arguments of a network that is given by name.

    Raises:
        UsageError: for no method, one that learns from labels itself, or arguments that are not the method's to have.
    """
    if isinstance(method, SSLModule):
        held = {"backbone": None, **method.hparams}  # a checkpoint tells them again
        given = [name for name, value in {"backbone": backbone, **network}.items() if value not in (None, held[name])]
        if given:
            raise UsageError(f"method= is a module, with a network of its own: leave out {', '.join(given)}.")
        made = method
    else:
        cls, arguments = class_and_arguments(method, argument="method", host="SemiSupervised")
        made = cls(**{"backbone": "resnet50" if backbone is None else backbone, **network, **arguments})
    refuse_labels(made, "method")
    if getattr(made, "feature_layer", None) is not None:
        raise UsageError(
            f"the class head is on the features of the whole backbone: give {type(made).__name__} no feature_layer."
        )
    return made


def features_of_images(method: SSLModule, outputs: list[Any], views: int, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``(R, D)`` that a backbone gave while a method's loss was computed, and the label of each.

    Args:
        method: where it makes several rows of an image itself, as pretext methods do, they follow each other as views
            do; others must have one row for each image, or for each image of each view.
        outputs: what the backbone gave, call after call.
        views: of each image.
        targets: ``(B,)`` labels of the images.

    Raises:
        UsageError: where it is not known which row is of which image.
    """
    count = len(targets)
    usable = bool(outputs) and all(isinstance(rows, Tensor) and rows.ndim == 2 for rows in outputs)
    features = torch.cat(outputs) if usable else torch.empty(0)
    each = len(features) // count
    if not usable or len(features) != each * count or not (isinstance(method, PretextModule) or each in (1, views)):
        raise UsageError(
            f"concatenate=True: which features belong to which of {count} images is not known of "
            f"{type(method).__name__}, whose backbone gave {len(features) if usable else 'no'} rows of them: leave it "
            "out, for a pass of the labeled images alone."
        )
    return features, targets.repeat(each)
