"""Networks over words: a table of vectors, and a Transformer encoder."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["TextEncoder", "WordVectors", "start_as_bert"]


class WordVectors(nn.Module):
    """A vector for each word of a vocabulary, which may be unknown at first.

    Args:
        dim: width `D`.

    Attributes:
        weight: ``(V, D)``; no rows until :meth:`resize`.
        num_features: `D`.

    Example:
        >>> vectors = WordVectors(4)
        >>> vectors.resize(10)
        >>> vectors(torch.tensor([[3, 9]])).shape
        torch.Size([1, 2, 4])
    """

    weight: nn.Parameter

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim
        self.weight = nn.Parameter(torch.empty(0, dim))

    def resize(self, words: int) -> None:
        """Start over, for so many words: uniform numbers in ±1/2 by the width."""
        self.weight = nn.Parameter((torch.rand(words, self.num_features) - 0.5) / self.num_features)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors ``(..., D)`` of words ``(...)``."""
        return F.embedding(ids, self.weight)


class TextEncoder(nn.Module):
    """BERT's encoder: words and positions, then Transformer blocks whose norms come last.

    Every matrix starts as normal numbers of deviation ``init_std``, cut off at two of them; biases start at zero. There
    are no segments, since it reads one text at a time.

    Args:
        dim: width `D`.
        depth: number of blocks.
        heads: of the attention.
        mlp_ratio: width of a block's inner layer, in units of `D`.
        max_length: number of positions.
        dropout: of embeddings, attention, and what each half of a block adds.
        init_std: deviation of the initial matrices.

    Attributes:
        num_features: `D`.

    Raises:
        UsageError: if ``heads`` does not divide ``dim``; at a text of more than ``max_length`` tokens.

    Source: Devlin et al., BERT, NAACL 2019, arXiv:1810.04805; Vaswani et al., Attention Is All You Need, NeurIPS 2017,
    arXiv:1706.03762.

    Example:
        >>> encoder = TextEncoder(dim=16, depth=1, heads=2, max_length=8)
        >>> encoder.resize(50)
        >>> encoder(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 16])
    """

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        max_length: int = 512,
        dropout: float = 0.1,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UsageError(f"heads={heads} must divide dim={dim}.")
        self.num_features = dim
        self.max_length = max_length
        self.init_std = init_std
        self.words = nn.Embedding(1, dim)  # until the vocabulary is known
        self.positions = nn.Parameter(torch.empty(max_length, dim))
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(dim, heads, round(dim * mlp_ratio), dropout) for _ in range(depth))
        self.apply(partial(start_as_bert, std=init_std))
        _truncated(self.positions, init_std)

    def resize(self, words: int) -> None:
        """Start over with vectors of so many words."""
        self.words = nn.Embedding(words, self.num_features)
        start_as_bert(self.words, std=self.init_std)

    def forward(self, ids: Tensor, seen: Tensor | None = None) -> Tensor:
        """Tokens ``(B, L, D)`` of words ``(B, L)``; ``seen`` ``(B, L)`` bool is False for what nothing may look at."""
        length = ids.shape[1]
        if length > self.max_length:
            raise UsageError(f"a text of {length} tokens, but there are max_length={self.max_length} positions.")
        x = self.dropout(self.norm(self.words(ids) + self.positions[:length]))
        mask = None if seen is None else seen[:, None, None, :]  # (B, 1, 1, L)
        for block in self.blocks:
            x = block(x, mask)
        tokens: Tensor = x
        return tokens


class _Block(nn.Module):
    """Attention, then two layers; each is added to its input, and the sum is normalized."""

    def __init__(self, dim: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.rate = dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-12)
        self.mlp = nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Linear(inner, dim))
        self.norm2 = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, dim = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, L, D / heads)
        rate = self.rate if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        x = self.norm1(x + self.dropout(self.out(attended.transpose(1, 2).reshape(batch, length, dim))))
        normalized: Tensor = self.norm2(x + self.dropout(self.mlp(x)))
        return normalized


def start_as_bert(layer: Any, *, std: float = 0.02) -> None:
    """Initial weights of one layer as BERT's code has them."""
    if isinstance(layer, nn.Linear | nn.Embedding):
        _truncated(layer.weight, std)
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _truncated(weight: Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
