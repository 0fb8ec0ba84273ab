"""The network that weights are of, read from their names and shapes where these leave no choice."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslbolts.checkpoints.foreign.layouts import Layout
from sslbolts.errors import UsageError

__all__ = ["infer_network", "named_children", "shape_arguments", "united_statistics"]

_Spec = dict[str, Any]

_RESNETS = {  # blocks per stage, convolutions per block, width of layer1's 3x3 convolution, its channels per group
    ((2, 2, 2, 2), 2, 64, 64): "resnet18",
    ((3, 4, 6, 3), 2, 64, 64): "resnet34",
    ((3, 4, 6, 3), 3, 64, 64): "resnet50",
    ((3, 4, 23, 3), 3, 64, 64): "resnet101",
    ((3, 8, 36, 3), 3, 64, 64): "resnet152",
    ((3, 4, 6, 3), 3, 128, 128): "wide_resnet50_2",
    ((3, 4, 23, 3), 3, 128, 128): "wide_resnet101_2",
    ((3, 4, 6, 3), 3, 128, 4): "resnext50_32x4d",
}
_VITS = {  # width, blocks
    (192, 12): "vit_tiny_patch16_224",
    (384, 12): "vit_small_patch16_224",
    (768, 12): "vit_base_patch16_224",
    (1024, 24): "vit_large_patch16_224",
    (1280, 32): "vit_huge_patch14_224",
}
_BY_HAND = 'name the network, backbone="resnet50" or any timm or torchvision name, or pass it as a module.'


def infer_network(weights: Mapping[str, Tensor], layout: Layout, hparams: Mapping[str, Any]) -> _Spec:
    """Arguments of :func:`sslbolts.networks.backbones.create_backbone` for a ResNet or a vision transformer.

    Args:
        weights: of the backbone, under torchvision's or timm's names.
        layout: the checkpoint's.
        hparams: the checkpoint's hyperparameters, of which lightning-bolts' stem options are read.

    Raises:
        UsageError: if names and shapes leave several networks, or none that is known.
    """
    if "conv1.weight" in weights and "layer1.0.conv1.weight" in weights:
        name = _resnet(weights)
    elif "patch_embed.proj.weight" in weights and "blocks.0.attn.qkv.weight" in weights:
        name = _vit(weights, layout)
    else:
        raise UsageError(f"these weights are neither of a ResNet nor of a vision transformer: {_BY_HAND}")
    return {"backbone": name, **shape_arguments(weights, layout, hparams)}


def shape_arguments(weights: Mapping[str, Tensor], layout: Layout, hparams: Mapping[str, Any]) -> _Spec:
    """Those arguments of a named network that the weights tell: stem, channels, a transformer's image and patch size.

    Raises:
        UsageError: for a stem that there is not.
    """
    if "conv1.weight" in weights:
        kernel = weights["conv1.weight"]
        return {
            "stem": _stem(kernel.shape[-1], layout, hparams),
            "in_chans": kernel.shape[1],
            "backbone_kwargs": {},
        }
    spec: _Spec = {"stem": "imagenet", "in_chans": 3, "backbone_kwargs": {}}
    positions = weights.get("pos_embed")
    if "patch_embed.proj.weight" in weights and positions is not None and positions.dim() == 3:
        width, spec["in_chans"], patch, _ = weights["patch_embed.proj.weight"].shape
        side = _side(positions.shape[1], _prefix_tokens(weights))
        if side is not None:
            spec["backbone_kwargs"] = {"img_size": side * patch, "patch_size": patch}
        heads = (layout.heads_of_vit or {}).get(width)
        if heads:
            spec["backbone_kwargs"]["num_heads"] = heads
        if layout.name == "dino":
            spec["backbone_kwargs"]["positions"] = "dino"
    return spec


def named_children(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of ``nn.Sequential(*resnet.children())`` under the ResNet's own names; others as they are.

    lightly's ResNets for small images have no module between batch norm and first stage, and call the shortcut of a
    block by that name.

    Example:
        >>> import torch
        >>> stages = {f"{index}.0.conv1.weight": torch.zeros(1) for index in (4, 5, 6, 7)}
        >>> list(named_children({"0.weight": torch.zeros(8, 3, 3, 3), "1.bias": torch.zeros(8), **stages}))[:3]
        ['conv1.weight', 'bn1.bias', 'layer1.0.conv1.weight']
    """
    first = [name.partition(".")[0] for name in weights]
    if not first or not all(part.isdigit() for part in first):
        return dict(weights)
    order = sorted(set(first), key=int)
    if len(order) != 6 or weights.get("0.weight") is None or weights["0.weight"].dim() != 4:
        return dict(weights)
    names = dict(zip(order, ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"), strict=True))
    found = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        found[f"{names[part]}.{rest.replace('.shortcut.', '.downsample.')}"] = tensor
    return found


def united_statistics(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms of lightly that keep statistics of each split of the batch, with the mean that evaluation takes.

    Example:
        >>> import torch
        >>> split = {"bn1.weight": torch.ones(2), "bn1.running_mean": torch.tensor([0.0, 1.0, 4.0, 3.0])}
        >>> united_statistics(split)["bn1.running_mean"].tolist()
        [2.0, 2.0]
    """
    united = dict(weights)
    for name, statistics in weights.items():
        module, _, kind = name.rpartition(".")
        scale = weights.get(f"{module}.weight")
        if kind in ("running_mean", "running_var") and scale is not None and scale.dim() == statistics.dim() == 1:
            splits, rest = divmod(len(statistics), len(scale))
            if splits > 1 and rest == 0:
                united[name] = statistics.view(splits, len(scale)).mean(0)
    return united


def _resnet(weights: Mapping[str, Tensor]) -> str:
    blocks = tuple(len({name.split(".")[1] for name in weights if name.startswith(f"layer{i}.")}) for i in range(1, 5))
    deep = "layer1.0.conv3.weight" in weights
    spatial = weights["layer1.0.conv2.weight"]
    key = (blocks, 3 if deep else 2, spatial.shape[0], spatial.shape[1])
    if key not in _RESNETS:
        raise UsageError(
            f"no ResNet that is known has {blocks} blocks of {key[1]} convolutions and {key[2]} channels: {_BY_HAND}"
        )
    return _RESNETS[key]


def _vit(weights: Mapping[str, Tensor], layout: Layout) -> str:
    width = weights["patch_embed.proj.weight"].shape[0]
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    if (width, blocks) not in _VITS:
        raise UsageError(
            f"no vision transformer that is known has {blocks} blocks of width {width}, and weights do not tell the "
            f"number of attention heads: {_BY_HAND}"
        )
    rows, tokens = weights["pos_embed"].shape[1] if "pos_embed" in weights else 0, _prefix_tokens(weights)
    if "cls_token" not in weights or tokens != 1 or _side(rows - 1, 0) is None:
        raise UsageError(
            f"this transformer's position embedding has {rows} rows, which is not a square of patches and one class "
            f"token: {_BY_HAND}"
        )
    if (layout.heads_of_vit or {}).get(width) == 0:
        raise UsageError(
            f"a transformer of width {width} has {width // 64} attention heads in most methods, or 12 in solo-learn's "
            f'MoCo v3 and MAE, and weights do not tell: pass backbone="{_VITS[width, blocks]}", or for 12 heads '
            f'create_backbone("{_VITS[width, blocks]}", num_heads=12) with its img_size and patch_size.'
        )
    return _VITS[width, blocks]


def _prefix_tokens(weights: Mapping[str, Tensor]) -> int:
    """Tokens of a transformer that are no patches: of class, of distillation, registers."""
    return sum(weights[name].shape[1] for name in ("cls_token", "dist_token", "reg_token") if name in weights)


def _side(rows: int, tokens: int) -> int | None:
    """Patches along a side of a square image, of whose position embeddings the other tokens may have one or not."""
    for patches in (rows - tokens, rows):
        side = math.isqrt(max(patches, 0))
        if side > 0 and side**2 == patches:
            return side
    return None


def _stem(kernel: int, layout: Layout, hparams: Mapping[str, Any]) -> str:
    pooled = hparams.get("maxpool1") if layout.name.startswith("bolts") else None
    if kernel == 3:
        if pooled:
            raise UsageError(
                "this checkpoint's network has a 3x3 first convolution and max-pooling (first_conv=False, "
                "maxpool1=True), for which there is no stem here: build that network and pass it as backbone=."
            )
        if layout.small_stem is None:
            raise UsageError(
                'a 3x3 first convolution beside a classifier pads 2 in solo-learn (layout="solo-learn") and 1 nearly '
                'everywhere else (layout="backbone"), and weights do not tell: pass the layout that made it.'
            )
        return layout.small_stem
    return "no_pool" if pooled is False else "imagenet"
