"""The attention of a vision transformer's class token, read from any of them without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["attending", "class_attention", "find_attention"]


@torch.no_grad()
def class_attention(network: nn.Module, images: Tensor) -> Tensor:
    """Attention of the class token to the patches in the last layer, for each head.

    Works with timm's vision transformers, also where fused attention never forms the map (for this one call the last
    layer computes it step by step), and with every network whose attention is ``nn.MultiheadAttention``, as
    torchvision's. A network that ends in attention pooling shows what the pooling attends to; one without a class
    token, the attention that patches receive on average.

    Args:
        network: called on ``images``; leave it in eval mode. Weights, modes and hooks are as before afterwards.
        images: ``(B, C, H, W)``, prepared as the network expects them.

    Returns:
        ``(B, heads, h, w)`` non-negative weights, float32; register tokens and the class token itself are left out, so
        they need not sum to 1.

    Raises:
        UsageError: if the network has no attention over all its patches.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> import timm
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, num_classes=0).eval()
        >>> class_attention(network, torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 3, 4, 4])
    """
    layer = find_attention(network)
    taken: list[Tensor] = []
    with torch.compiler.set_stance("force_eager"), _shown(layer, taken):
        network(images)
    name = type(network).__name__
    if not taken or taken[-1].ndim != 4 or len(taken[-1]) != len(images):
        raise UsageError(f"{name} has no attention over all patches of an image: AttentionMaps needs a plain ViT.")
    attention = taken[-1].float()  # (B, heads, queries, keys)
    prefix = _prefix_tokens(network)
    pooled = attention.shape[2] != attention.shape[3]
    to_patches = attention[:, :, 0] if pooled or prefix else attention.mean(2)
    # A pooling layer may see the patches alone, or the class token too.
    for first in dict.fromkeys((prefix, 0)):
        patches = to_patches[..., first:]
        rows = round((patches.shape[-1] * images.shape[-2] / images.shape[-1]) ** 0.5)
        if rows and patches.shape[-1] % rows == 0 and (first == prefix or pooled):
            return patches.reshape(*patches.shape[:-1], rows, -1)
    raise UsageError(f"{name} attends to {attention.shape[-1]} tokens, which are no grid of patches.")


def find_attention(network: nn.Module) -> nn.Module:
    """The last attention layer of a network.

    Raises:
        UsageError: if there is none.

    Example:
        >>> type(find_attention(nn.TransformerEncoderLayer(8, 2))).__name__
        'MultiheadAttention'
    """
    layers = [m for m in network.modules() if isinstance(m, nn.MultiheadAttention) or _is_fused(m)]
    if not layers:
        raise UsageError(
            f"{type(network).__name__} has no attention to draw: AttentionMaps is for vision transformers. Name the "
            "submodule that is one, or leave the maps out."
        )
    return layers[-1]


def attending(network: nn.Module) -> str:
    """Whose attention :func:`class_attention` shows, in words.

    Example:
        >>> import timm
        >>> attending(timm.create_model("vit_tiny_patch16_224", depth=1, class_token=False, global_pool="avg"))
        'the average patch'
    """
    modules = list(network.modules())
    if any(isinstance(getattr(module, "attn_pool", None), nn.Module) for module in modules):
        return "the pooling"
    names = ("cls_token", "class_token")
    if any(isinstance(getattr(module, name, None), Tensor) for module in modules for name in names):
        return "the class token"
    return "the first register token" if _prefix_tokens(network) else "the average patch"


def _is_fused(module: nn.Module) -> bool:
    """Whether a module is timm's attention: it can do without the map, and drops out entries of it."""
    return hasattr(module, "fused_attn") and isinstance(getattr(module, "attn_drop", None), nn.Module)


@contextmanager
def _shown(layer: Any, taken: list[Tensor]) -> Iterator[None]:
    """While it lasts, ``layer`` forms its map ``(B, heads, queries, keys)``, which is put into ``taken``."""
    if isinstance(layer, nn.MultiheadAttention):

        def recompute(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kwargs = kwargs | {"need_weights": True, "average_attn_weights": False}
            if len(args) <= 4:  # the fifth positional argument is need_weights
                taken.append(module.forward(*args, **kwargs)[1].detach())

        handle = layer.register_forward_pre_hook(recompute, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
        return
    fused, layer.fused_attn = layer.fused_attn, False
    handle = layer.attn_drop.register_forward_hook(lambda module, args, output: taken.append(args[0].detach()))
    try:
        yield
    finally:
        handle.remove()
        layer.fused_attn = fused


def _prefix_tokens(network: nn.Module) -> int:
    """Number of tokens before the patches: class token and registers."""
    for module in network.modules():
        if isinstance(number := getattr(module, "num_prefix_tokens", None), int):
            return number
        if getattr(module, "cls_token", None) is not None or getattr(module, "class_token", None) is not None:
            return 1
    return 0
