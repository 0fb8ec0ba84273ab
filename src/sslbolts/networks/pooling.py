"""The mean of a vision transformer's patch tokens in the place of its class token."""

import copy
from typing import Any

from torch import nn

__all__ = ["mean_pooled"]


def mean_pooled(network: Any) -> bool:
    """Makes a vision transformer of timm give the mean of its patch tokens, in place; other networks stay as they are.

    The norm after the last block, which was of single tokens, is left out, and a new one of the mean takes its place.

    Args:
        network: any network.

    Returns:
        Whether its features are such a mean now.

    Source: the official code of MAE (He et al., CVPR 2022, arXiv:2111.06377) and BEiT (Bao et al., ICLR 2022,
    arXiv:2106.08254).

    Example:
        >>> import timm
        >>> network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        >>> mean_pooled(network), network.global_pool, mean_pooled(nn.Flatten())
        (True, 'avg', False)
    """
    pooling, norm, after = (getattr(network, name, None) for name in ("global_pool", "norm", "fc_norm"))
    tokens = hasattr(network, "patch_embed") and hasattr(network, "blocks")
    if tokens and pooling == "token" and isinstance(norm, nn.LayerNorm) and isinstance(after, nn.Identity):
        network.fc_norm = copy.deepcopy(norm)
        network.fc_norm.reset_parameters()
        network.norm = nn.Identity()
        network.global_pool = "avg"
    return tokens and getattr(network, "global_pool", None) == "avg"
