"""The same network in the other library: weights of timm under torchvision's names, and the other way round."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.files import some
from sslbolts.errors import UsageError
from sslbolts.networks.backbones import create_backbone, first_convolution
from sslbolts.transforms.preprocessing import Preprocessing

__all__ = ["check_image", "in_library"]

_VIT_NAMES = (  # timm, torchvision
    (r"cls_token", "class_token"),
    (r"pos_embed", "encoder.pos_embedding"),
    (r"patch_embed\.proj\.", "conv_proj."),
    (r"norm\.", "encoder.ln."),
    (r"blocks\.(\d+)\.norm(\d)\.", r"encoder.layers.encoder_layer_\1.ln_\2."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.encoder_layer_\1.self_attention.in_proj_"),
    (r"blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.encoder_layer_\1.self_attention.out_proj."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layers.encoder_layer_\1.mlp.0."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layers.encoder_layer_\1.mlp.3."),
)
_VIT_SIZES = {"base": "b", "large": "l", "huge": "h"}


def in_library(
    library: str, network: nn.Module, spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of a network under the names of a library, and how that library's network is made.

    The library's own network is made, takes the weights strictly, and must give the features of the given one.

    Args:
        library: "timm" or "torchvision".
        network: in eval mode.
        spec: arguments of ``create_backbone`` that made it.
        preprocessing: says the size of the images with which features are compared, where it is known.

    Raises:
        UsageError: if the library has no such network, or its features differ.
    """
    if spec is None:
        raise UsageError(
            f"a module of your own is no network of {library}: write the format safetensors (load_backbone takes "
            "backbone= then), onnx or torch-export."
        )
    if spec.get("stem", "imagenet") != "imagenet":
        raise UsageError(
            f'{library} has no {spec["backbone"]} with stem="{spec["stem"]}": write the format safetensors, which '
            "load_backbone reads, onnx or torch-export."
        )
    theirs, arguments = _counterpart(library, spec)
    twin = create_backbone(f"{library}/{theirs}", in_chans=spec.get("in_chans", 3), **arguments)
    expected = twin.state_dict()
    weights = dict(network.state_dict())
    if not weights.keys() <= expected.keys():
        weights = {_torchvision_vit(name): tensor for name, tensor in weights.items()}
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    wrong += [name for name in weights if name not in expected]
    if wrong:
        raise _no_twin(library, spec, f"{library}'s {theirs} has other weights ({some(wrong)})")
    twin.load_state_dict(weights)
    images = check_image(network, spec, preprocessing, count=2)
    with torch.no_grad():
        ours, features = network(images), twin.eval()(images)
    if ours.shape != features.shape or not torch.allclose(ours, features, rtol=1e-4, atol=1e-5):
        raise _no_twin(library, spec, f"{library}'s {theirs} gives other features with these weights")
    return weights, {
        "backbone": f"{library}/{theirs}",
        "stem": "imagenet",
        "in_chans": spec.get("in_chans", 3),
        "backbone_kwargs": arguments,
    }


def check_image(
    network: nn.Module, spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None, *, count: int
) -> Tensor:
    """Noise ``(count, C, H, H)`` of the size that a network is used with, on its device."""
    kwargs = (spec or {}).get("backbone_kwargs") or {}
    known = preprocessing.image_size if preprocessing else None
    size = known or kwargs.get("img_size") or kwargs.get("image_size") or 224
    weight = next(network.parameters())
    first = first_convolution(network)
    channels = (spec or {}).get("in_chans") or (first.in_channels if first else 3)
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0)).to(weight)


def _counterpart(library: str, spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the same network in a library."""
    import timm
    import torchvision

    given, _, name = spec["backbone"].rpartition("/")
    kwargs = dict(spec.get("backbone_kwargs") or {})
    kwargs.pop("positions", None)  # of images of another size, which no library resamples so
    own = given or ("timm" if timm.is_model(name) else "torchvision")
    if own == library:
        return name, kwargs
    known = timm.list_models() if library == "timm" else torchvision.models.list_models(module=torchvision.models)
    vit = re.fullmatch(r"vit_(base|large|huge)_patch(\d+)_(\d+)", name) if library == "torchvision" else None
    if vit:
        size = kwargs.pop("img_size", int(vit[3]))
        patch = kwargs.pop("patch_size", int(vit[2]))
        name, kwargs = f"vit_{_VIT_SIZES[vit[1]]}_{patch}", {"image_size": size, **kwargs}
    if name not in known or set(kwargs) - {"image_size"}:
        raise _no_twin(library, spec, f"{library} has no network of that form")
    return name, kwargs


def _torchvision_vit(name: str) -> str:
    for pattern, theirs in _VIT_NAMES:
        found = re.match(pattern, name)
        if found:
            return found.expand(theirs) + name[found.end() :]
    return name


def _no_twin(library: str, spec: Mapping[str, Any], reason: str) -> UsageError:
    return UsageError(
        f"{spec['backbone']} cannot be written for {library}: {reason}. Write the format safetensors, onnx or "
        "torch-export."
    )
