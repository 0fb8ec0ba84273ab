"""timm's ``config.json`` of a repository on the Hub: the network of its weights, and the images that it takes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sslbolts.checkpoints.safe_arguments import arguments_of_shape
from sslbolts.checks import read_regular
from sslbolts.errors import UsageError
from sslbolts.networks.widths import feature_width
from sslbolts.transforms.preprocessing import Preprocessing

__all__ = ["read_timm_config", "timm_config"]

_LARGEST = 2**22  # bytes; names of 20,000 classes take less than one MB


def timm_config(
    network: nn.Module, spec: Mapping[str, Any], preprocessing: Preprocessing | None, method: str
) -> dict[str, Any]:
    """The content of ``config.json`` by which ``timm.create_model("hf-hub:OWNER/NAME")`` makes a network.

    Args:
        network: timm's own, without a classifier.
        spec: arguments of ``create_backbone`` that make it, ``backbone`` beginning with "timm/".
        preprocessing: of its images, as far as it is known; timm takes ImageNet's for what is not said.
        method: what trained it.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> network = create_backbone("timm/resnet18")
        >>> entry = Preprocessing(32, (0.5,) * 3, (0.25,) * 3)
        >>> config = timm_config(network, {"backbone": "timm/resnet18"}, entry, "SimCLR")
        >>> config["architecture"], config["num_features"], config["pretrained_cfg"]["input_size"]
        ('resnet18', 512, [3, 32, 32])
    """
    known: Mapping[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    entry = preprocessing or Preprocessing()
    channels = int(spec.get("in_chans", 3))
    size = entry.image_size or known.get("input_size", (3, 224, 224))[-1]
    settings: dict[str, Any] = {
        "custom_load": False,
        "input_size": [channels, size, size],
        "fixed_input_size": bool(known.get("fixed_input_size", False)),
        "num_classes": 0,
        "first_conv": known.get("first_conv"),
        "classifier": known.get("classifier"),
    }
    stated = {"mean": entry.mean, "std": entry.std, "interpolation": entry.interpolation, "crop_pct": entry.crop_pct}
    settings |= {name: list(value) if isinstance(value, tuple) else value for name, value in stated.items() if value}
    arguments = dict(spec.get("backbone_kwargs") or {})
    return {
        "architecture": spec["backbone"].partition("/")[2],
        "num_classes": 0,
        "num_features": feature_width(network),
        "pretrained_cfg": settings,
        "trained_by": method,
        **({"model_args": arguments} if arguments else {}),
    }


def read_timm_config(path: str | Path, address: str) -> tuple[dict[str, Any], Preprocessing]:
    """Arguments of ``create_backbone`` and the preprocessing that a stranger's ``config.json`` says.

    Args:
        path: the file.
        address: of its repository, for messages.

    Raises:
        UsageError: if it is of no network of timm, or has arguments that are no part of a network's form.
    """
    try:
        found = json.loads(read_regular(path, _LARGEST))
        settings = found.get("pretrained_cfg", found)  # older files have one mapping of everything
        name, size = found["architecture"], tuple(settings.get("input_size", (3, 224, 224)))
        channels, image_size = int(size[0]), int(size[-1])
        mean, std = (tuple(map(float, settings.get(key) or ())) or None for key in ("mean", "std"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{address} says in no config.json as timm writes it which network its weights are of "
            f"({type(error).__name__}: {error}): pass the network, backbone=..."
        ) from error
    import timm

    if not isinstance(name, str) or not timm.is_model(name):
        raise UsageError(f'{address} is of the network "{name}", which the timm that is installed does not have.')
    spec = {
        "backbone": f"timm/{name}",
        "stem": "imagenet",
        "in_chans": channels,
        "backbone_kwargs": arguments_of_shape(found.get("model_args"), f"model_args of {address}"),
    }
    cut, way = settings.get("crop_pct"), settings.get("interpolation")
    entry = Preprocessing(
        image_size,
        mean,
        std,
        channels,
        way if isinstance(way, str) else None,
        cut if isinstance(cut, int | float) else None,
    )
    return spec, entry
