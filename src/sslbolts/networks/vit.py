"""Parts of timm's vision transformers: fixed positions, a look at some patches only, decoders."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = [
    "PatchDecoder",
    "PixelDecoder",
    "compile_blocks",
    "last_tokens",
    "masked_embeddings",
    "only_patches",
    "refuse_other_size",
    "refuse_others",
    "sin_cos_positions",
    "small_normal_start",
    "xavier_start",
]

_norm: Any = partial(nn.LayerNorm, eps=1e-6)


def refuse_others(network: nn.Module, method: str) -> None:
    """Refuse a network that is no plain vision transformer of timm.

    Raises:
        UsageError: names the method, and networks that it takes.
    """
    if not all(hasattr(network, part) for part in ("patch_embed", "patch_drop", "pos_embed", "blocks", "forward_head")):
        raise UsageError(
            f"{method} trains vision transformers of timm, and {type(network).__name__} is none: give backbone= e.g. "
            '"vit_small_patch16_224".'
        )


def refuse_other_size(network: Any, images: Tensor) -> None:
    """Refuse images ``(B, C, H, W)`` of another size than that which a transformer of timm was made for.

    Raises:
        UsageError: names both.
    """
    own, size = tuple(network.patch_embed.img_size), tuple(images.shape[2:])
    if size != own:
        raise UsageError(
            f"the backbone was made for images of {own} pixels, and these have {size}: give "
            f"backbone_kwargs={{'img_size': {size[0]}}}, or the DataModule image_size={own[0]}."
        )


def sin_cos_positions(height: int, width: int, dim: int, *, row_first: bool = False) -> Tensor:
    """Fixed position embeddings of a grid: sines and cosines at ``dim / 4`` frequencies.

    Args:
        height: rows of the grid.
        width: its columns.
        dim: width of an embedding, a multiple of 4.
        row_first: the row in the first half of the embedding, as MoCo v3 has it; MAE has the column there.

    Returns:
        ``(height * width, dim)`` float64, row after row.

    Raises:
        UsageError: for another width.

    Example:
        >>> sin_cos_positions(14, 14, 768).shape
        torch.Size([196, 768])
    """
    if dim % 4:
        raise UsageError(f"the width {dim} of the vision transformer must be a multiple of 4 for fixed positions.")
    frequencies = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    halves = (rows, columns) if row_first else (columns, rows)
    angles = [position.flatten()[:, None] * frequencies for position in halves]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


@contextmanager
def only_patches(vit: Any, keep: Tensor) -> Iterator[None]:
    """A context in which the blocks of a transformer see some patches only, after their positions were added.

    Args:
        vit: a vision transformer of timm.
        keep: ``(B, K)``, which of each image's patches, in the order in which the blocks get them.
    """

    def choose(tokens: Tensor) -> Tensor:
        prefix, patches = tokens[:, : vit.num_prefix_tokens], tokens[:, vit.num_prefix_tokens :]
        return torch.cat([prefix, patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))], 1)

    hook = vit.patch_drop.register_forward_hook(lambda _layer, _inputs, tokens: choose(tokens))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def masked_embeddings(network: Any, mask: Tensor, token: Tensor) -> Iterator[None]:
    """A context in which the embeddings of some patches are replaced by a token, before their positions are added.

    Args:
        network: a transformer of timm with a ``patch_embed``, which gives ``(B, L, D)`` or ``(B, rows, columns, D)``.
        mask: ``(B, rows, columns)``, True where a patch is masked.
        token: `D` numbers in the last dimension.
    """

    def replace(embeddings: Tensor) -> Tensor:
        masked = mask.reshape(*embeddings.shape[:-1], 1)
        return torch.where(masked, token.to(embeddings.dtype), embeddings)

    hook = network.patch_embed.register_forward_hook(lambda _layer, _inputs, embeddings: replace(embeddings))
    try:
        yield
    finally:
        hook.remove()


def last_tokens(vit: Any, images: Tensor) -> Tensor:
    """What a transformer of timm pools: its last tokens or maps, from one call of the whole network.

    So hooks on the network see its features too.
    """
    found: list[Tensor] = []
    hook = vit.norm.register_forward_hook(lambda _layer, _inputs, output: found.append(output))
    try:
        vit(images)
    finally:
        hook.remove()
    return found[0]


def compile_blocks(vit: Any) -> None:
    """Compile the blocks (or stages) one by one, in place: hooks that come and go between them stay outside."""
    for block in vit.blocks if hasattr(vit, "blocks") else vit.layers:
        block.compile()


@torch.no_grad()
def xavier_start(network: nn.Module) -> None:
    """MAE's initial weights: uniform by Glorot and Bengio for linear layers and the patch embedding, without biases.

    Queries, keys and values are one matrix there. The patch embedding keeps torch's bias.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if isinstance(projection := getattr(getattr(network, "patch_embed", None), "proj", None), nn.Conv2d):
        projection.reset_parameters()
        bound = (6 / (projection.out_channels + projection.weight[0].numel())) ** 0.5  # as one matrix
        nn.init.uniform_(projection.weight, -bound, bound)


@torch.no_grad()
def small_normal_start(network: nn.Module, std: float = 0.02) -> None:
    """SimMIM's initial weights of a transformer: normal numbers cut at one standard deviation, biases at 0.

    What a block adds to its tokens is less the later it comes: the last matrices of attention and MLP are divided by
    the root of twice the block's number, as in BEiT. Scales of norms and layers, and position biases, are left alone.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, std=std, a=-std, b=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for name in ("cls_token", "pos_embed"):
        if (parameter := getattr(network, name, None)) is not None:
            nn.init.trunc_normal_(parameter, std=std, a=-std, b=std)
    blocks: Any = getattr(network, "blocks", ())
    for number, block in enumerate(blocks, 1):
        block.attn.proj.weight.div_((2 * number) ** 0.5)
        block.mlp.fc2.weight.div_((2 * number) ** 0.5)


class PixelDecoder(nn.Module):
    """One linear layer from each token of a transformer to the pixels of its patch.

    Args:
        width: of the tokens.
        stride: side of a token's patch, pixels.
        channels: of the images.

    Example:
        >>> PixelDecoder(16, stride=4, channels=3)(torch.rand(2, 1 + 6, 16), (2, 3)).shape
        torch.Size([2, 3, 8, 12])
    """

    def __init__(self, width: int, *, stride: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(width, stride**2 * channels, 1), nn.PixelShuffle(stride))

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Images ``(B, channels, rows * stride, columns * stride)``.

        Args:
            tokens: ``(B, rows, columns, width)``, or ``(B, prefix + rows * columns, width)``, of which the prefix is
                left out.
            grid: rows and columns.
        """
        if tokens.ndim == 3:
            tokens = tokens[:, -grid[0] * grid[1] :].reshape(len(tokens), *grid, -1)
        images: Tensor = self.layers(tokens.movedim(-1, 1))
        return images


class PatchDecoder(nn.Module):
    """A small transformer from the tokens of some patches to the values of all.

    Args:
        width: of the encoder's tokens.
        grid: rows and columns of patches.
        values: numbers to predict per patch.
        prefix: tokens before those of patches.
        dim: width of the decoder's tokens.
        depth: its blocks.
        heads: of its attention; they divide ``dim``.
        mlp_ratio: hidden width of its MLPs, as a multiple of ``dim``.

    Example:
        >>> decoder = PatchDecoder(16, (2, 2), 48, dim=8, depth=1, heads=2)
        >>> decoder(torch.rand(3, 1 + 2, 16), torch.tensor([[0, 3, 1, 2]]).expand(3, 4)).shape
        torch.Size([3, 4, 48])
    """

    positions: Tensor

    def __init__(
        self,
        width: int,
        grid: tuple[int, int],
        values: int,
        *,
        prefix: int = 1,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        if dim % heads:
            raise UsageError(f"decoder_heads={heads} must divide decoder_dim={dim}.")
        self.prefix = prefix
        self.embed = nn.Linear(width, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        positions = sin_cos_positions(*grid, dim).to(torch.get_default_dtype())
        self.register_buffer("positions", torch.cat([positions.new_zeros(prefix, dim), positions]), persistent=False)
        self.blocks = nn.Sequential(
            *(Block(dim, heads, mlp_ratio, qkv_bias=True, norm_layer=_norm) for _ in range(depth))
        )
        self.norm = _norm(dim)
        self.head = nn.Linear(dim, values)
        xavier_start(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """Values ``(B, L, values)`` of all patches.

        Args:
            tokens: ``(B, prefix + K, width)`` of the encoder.
            restore: ``(B, L)``, for each patch its place among those seen, the masked ones after them.
        """
        tokens = self.embed(tokens)
        prefix, seen = tokens[:, : self.prefix], tokens[:, self.prefix :]
        masked = self.mask_token.to(seen.dtype).expand(len(seen), restore.shape[1] - seen.shape[1], -1)
        patches = torch.cat([seen, masked], 1).gather(1, restore[..., None].expand(-1, -1, seen.shape[2]))
        tokens = torch.cat([prefix, patches], 1) + self.positions
        values: Tensor = self.head(self.norm(self.blocks(tokens)))[:, self.prefix :]
        return values
