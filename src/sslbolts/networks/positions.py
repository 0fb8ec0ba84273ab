"""Position embeddings of a vision transformer for images of another size than its own, as DINO's code makes them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

__all__ = ["DINOVisionTransformer", "resample_like_dino", "resized_positions"]


class DINOVisionTransformer(VisionTransformer):  # type: ignore[misc]
    """A vision transformer of timm whose position embeddings are resampled by :func:`resized_positions`."""

    def _pos_embed(self, x: Tensor) -> Tensor:
        tokens: Tensor
        own = tuple(self.patch_embed.grid_size)
        if self.pos_embed is None or x.ndim != 4 or x.shape[1:3] == own:
            tokens = super()._pos_embed(x)
            return tokens
        first = 0 if self.no_embed_class else self.num_prefix_tokens  # those with an embedding of their own
        patches = resized_positions(self.pos_embed[:, first:], own, (x.shape[1], x.shape[2]))
        positions = torch.cat([self.pos_embed[:, :first], patches], 1)
        prefix = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        if self.no_embed_class:
            tokens = torch.cat([*prefix, x.flatten(1, 2) + positions], 1)
        else:
            tokens = torch.cat([*prefix, x.flatten(1, 2)], 1) + positions
        dropped: Tensor = self.pos_drop(tokens)
        return dropped


def resample_like_dino(network: Any) -> bool:
    """Makes a plain vision transformer of timm resample its positions as DINO's official code, in place.

    timm resamples with antialiasing, from which features of small crops differ by some percent. Weights, names and
    modes stay, and images of its own size have the same features. Other networks stay as they are.

    Args:
        network: any network; a vision transformer is one that was made with ``dynamic_img_size=True``.

    Returns:
        Whether its positions are resampled so now.

    Example:
        >>> import timm
        >>> network = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=0, dynamic_img_size=True)
        >>> resample_like_dino(network), network(torch.rand(2, 3, 96, 96)).shape, resample_like_dino(torch.nn.Flatten())
        (True, torch.Size([2, 192]), False)
    """
    if type(network) is VisionTransformer:
        network.__class__ = DINOVisionTransformer
    return isinstance(network, DINOVisionTransformer)


def resized_positions(positions: Tensor, own: Sequence[int], size: Sequence[int]) -> Tensor:
    """Embeddings of a grid of patches for a grid of another size: bicubic, without antialiasing.

    The scale is `(n + 0.1) / m` from `m` to `n` patches, as in the official code, where it guards against rounding.

    Args:
        positions: ``(1, rows * columns, D)``.
        own: rows and columns.
        size: new rows and columns.

    Returns:
        ``(1, rows * columns, D)`` of the new grid.

    Source: the official code of DINO, Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV
    2021, arXiv:2104.14294.

    Example:
        >>> resized_positions(torch.ones(1, 16, 8), (4, 4), (2, 3)).shape
        torch.Size([1, 6, 8])
    """
    grid = positions.reshape(1, *own, -1).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    scale = [(new + 0.1) / old for new, old in zip(size, own, strict=True)]
    exact = grid.to(torch.promote_types(grid.dtype, torch.float32))
    resized = F.interpolate(exact, scale_factor=scale, mode="bicubic").to(grid.dtype)
    return resized.flatten(2).transpose(1, 2)
