"""Jigsaw: the order in which the tiles of an image were put."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, fraction, one_of, whole
from sslbolts.health import Indicator, accuracy_over_chance
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.permutations import permutation_set
from sslbolts.methods.pretext.tile_draws import draw_corners
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.patch_towers import puzzle_head, tile_head
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import integers, uniform
from sslbolts.transforms.color_defenses import (
    mean_gray,
    mean_variance_50,
    normalize_channels,
    remove_green_magenta,
    standardize,
)
from sslbolts.transforms.tiles import TileGrid, cut_tiles

__all__ = ["Jigsaw", "TileColors", "puzzle"]

TileColors = Literal["channels", "standardize", "mvn", "none"]
"""The normalization of a tile: each channel by itself; all of its values; the same times 50; or none."""

_NORMALIZE: dict[str, Callable[[Tensor], Tensor]] = {
    "channels": normalize_channels,
    "standardize": standardize,
    "mvn": mean_variance_50,
}


def puzzle(tiles: Tensor, orders: Tensor) -> Tensor:
    """Tiles ``(T, B, ...)``, or their features, put in another order for each image.

    Args:
        tiles: ``(T, B, ...)``.
        orders: ``(..., B, T)``: tile ``orders[..., b, i]`` of image `b` comes to place `i`.

    Returns:
        ``(T, ..., B, ...)``.

    Example:
        >>> puzzle(torch.tensor([[10], [11], [12]]), torch.tensor([[2, 0, 1]])).flatten().tolist()
        [12, 10, 11]
    """
    return tiles[orders.movedim(-1, 0), torch.arange(tiles.shape[1], device=tiles.device)]


class Jigsaw(PretextModule):
    """Jigsaw: the tiles of an image are shuffled by one of a set of permutations; which one was it?

    Every tile goes through the network by itself, all tiles of a batch in one call, so that batch norm tells nothing
    about a tile's place. The permutations are those of which each is as far as possible from those before
    (:func:`~sslbolts.methods.pretext.permutations.permutation_set`); they stand in the checkpoint, since ties are
    decided otherwise elsewhere. Gaps and jitter, a shift of the color channels against each other, gray images and the
    normalization of each tile by itself keep answers from being found without looking at objects.

    Args:
        backbone: "sslbolts/cfn" (:class:`~sslbolts.networks.patch_towers.ContextFreeNetwork`), or any other network for
            images of the size of a tile.
        grid: rows and columns of tiles: 3, or 2 for small images.
        tile_size: side of a tile, pixels: 64 of images of 255 pixels; 8 of 32, or 16 with a grid of 2.
        cell_size: from tile to tile, pixels: 85; 10, or 16.
        jitter: pixels by which a tile is moved in its cell, from 0 on. The paper has 21, with which its channel shift
            leaves the cell.
        channel_shift: pixels by which every channel of every tile is moved on its own, 0 to so many.
        num_permutations: classes; 24 is all that a grid of 2 has.
        puzzles: permutations that are drawn for each image of a batch, whose tiles are embedded once. The paper has 1;
            Kolesnikov et al. (arXiv:1901.09005) draw 8 for all images of a batch.
        colors: normalization of a tile: "channels" is the mean and deviation of each channel of each tile, and safe;
            "standardize" of all its values; "mvn" the same times 50 (the code's second version); "none" leaves tiles
            with the brightness that they have in common (VISSL, and the code's first version).
        grayscale_p: probability that an image loses its colors.
        projection_p: probability that another image loses its part from green to magenta, which lenses bend.
        tile_dim: width of the layer on the features of one tile.
        hidden_dim: of the layer that sees all tiles; None is none (VISSL).
        batch_norm: in the layer of one tile (VISSL).
        dropout: after the hidden layers.
        bias_lr_scale: learning rate of biases and norms over that of the rest; they are not decayed.
        optimizer: SGD as in the paper, lr 0.01 at batch 256; it falls to a tenth every 100,000 of 350,000 steps.
        lr_scaling, warmup_epochs, final_lr, milestones, feature_layer, network: see :class:`~sslbolts.SSLModule` and
            :class:`~sslbolts.methods.pretext.base.PretextModule`. The features are of whole images, normalized as tiles
            are.

    Raises:
        UsageError: for a value out of its range, tiles that do not fit into cells, or more permutations than there are;
            when training starts, if the images are too small.

    Source: Noroozi and Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016,
    arXiv:1603.09246; batch norm and no hidden layer: Goyal et al., Scaling and Benchmarking Self-Supervised Visual
    Representation Learning, ICCV 2019, arXiv:1905.01235.

    Example:
        >>> small = {"tile_size": 8, "cell_size": 10, "jitter": 1, "channel_shift": 1, "tile_dim": 64}
        >>> method = Jigsaw("resnet10t", stem="cifar", num_permutations=30, hidden_dim=128, **small)
        >>> method.permutations.shape, method.eval()(torch.rand(2, 3, 32, 32)).shape
        (torch.Size([30, 9]), torch.Size([2, 512]))
    """

    starts_at_identity = False
    indicators = (
        accuracy_over_chance(
            "the permutation is found",
            "more epochs: accuracy stays at chance for a while",
            "fewer permutations",
            of="features",
        ),
        Indicator(
            "train/matching_accuracy",
            "permutations are found almost always, which objects do not allow: a shortcut",
            above=0.97,
            fixes=("larger gaps and more jitter", "a channel_shift, or grayscale_p", 'colors="channels"'),
        ),
    )

    permutations: Tensor

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/cfn",
        *,
        grid: int = 3,
        tile_size: int = 64,
        cell_size: int = 85,
        jitter: int = 19,
        channel_shift: int = 2,
        num_permutations: int = 100,
        puzzles: int = 1,
        colors: TileColors = "channels",
        grayscale_p: float = 0.5,
        projection_p: float = 0.5,
        tile_dim: int = 1024,
        hidden_dim: int | None = 4096,
        batch_norm: bool = False,
        dropout: float = 0.5,
        bias_lr_scale: float = 2.0,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (),
        **network: Unpack[PretextArguments],
    ) -> None:
        fraction(grayscale_p=grayscale_p, projection_p=projection_p, dropout=dropout)
        one_of(get_args(TileColors), colors=colors)
        whole(2, grid=grid, num_permutations=num_permutations)
        whole(0, jitter=jitter, channel_shift=channel_shift)
        whole(puzzles=puzzles, tile_size=tile_size, tile_dim=tile_dim, hidden_dim=hidden_dim)
        at_least(0, bias_lr_scale=bias_lr_scale)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.grid = TileGrid(grid, tile_size, cell_size, jitter, channel_shift)
        self.colors = colors
        self.grayscale_p, self.projection_p = grayscale_p, projection_p
        self.bias_lr_scale = bias_lr_scale
        self.puzzles = puzzles
        self.register_buffer("permutations", permutation_set(grid**2, num_permutations))
        self.tile_head = tile_head(self.num_features, tile_dim, batch_norm=batch_norm, dropout=dropout)
        self.head = puzzle_head(grid**2 * tile_dim, hidden_dim, num_permutations, dropout=dropout)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        drawn = self.generator(batch_idx, device=images.device)
        tiles = self.draw_tiles(images, drawn)  # (T, B, C, s, s)
        z = self.tile_head(self.backbone(tiles.flatten(0, 1))).unflatten(0, tiles.shape[:2])  # (T, B, D)
        labels = integers(self.puzzles, len(images), below=len(self.permutations), generator=drawn, images=1)  # (K, B)
        shuffled = puzzle(z, self.permutations[labels])  # (T, K, B, D)
        logits = self.head(shuffled.movedim(0, 2).flatten(2).flatten(0, 1))  # (K * B, permutations)
        labels = labels.flatten()
        loss = full_precision(F.cross_entropy)(logits, labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        self.log_matching(accuracy, of=len(self.permutations), batch_size=len(images))
        return loss

    @torch.no_grad()
    def draw_tiles(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Tiles ``(T, B, C, tile_size, tile_size)`` of images ``(B, C, H, W)``, row by row, normalized."""
        gray, projected = uniform(2, len(images), generator=generator, images=1)[..., None, None, None]
        images = torch.where(
            gray < self.grayscale_p,
            mean_gray(images),
            torch.where(projected < self.projection_p, remove_green_magenta(images), images),
        )
        return self.normalize(cut_tiles(images, draw_corners(self.grid, images, generator), self.grid.tile_size))

    def normalize(self, tiles: Tensor) -> Tensor:
        """Tiles ``(..., C, h, w)``, each normalized by itself as ``colors`` says."""
        return tiles if self.colors == "none" else _NORMALIZE[self.colors](tiles)

    def prepare(self, images: Tensor) -> Tensor:
        return self.normalize(images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self.grid.room(min(batch.views[0].shape[-2:]))

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The tiles of each image in their own order and in another, with a gap between them."""
        grid = TileGrid.fitting(min(images.shape[-2:]))
        tiles = cut_tiles(images, draw_corners(grid, images, generator), grid.tile_size)
        drawn = torch.rand(len(images), grid.tiles, generator=generator, device=generator.device)
        orders = drawn.argsort(1)
        names = [" ".join(map(str, order)) for order in orders.tolist()]
        ordered = Shown(_side_by_side(tiles), ["in order"] * len(images))
        return [ordered, Shown(_side_by_side(puzzle(tiles, orders)), names)]


def _side_by_side(tiles: Tensor) -> Tensor:
    """Tiles ``(T, B, C, s, s)`` as pictures ``(B, C, h, w)``, with white lines between them."""
    framed = F.pad(tiles, (0, 1, 0, 1), value=1.0)
    side = round(len(tiles) ** 0.5)
    rows = [torch.cat(list(row), -1) for row in torch.split(framed, side)]  # (B, C, s + 1, w) each
    return torch.cat(rows, -2)[..., :-1, :-1]
