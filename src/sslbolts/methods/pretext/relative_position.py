"""Relative patch position: where one patch of an image lies as seen from another."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, fraction, one_of, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.neighbors import DIRECTIONS, relative_pairs
from sslbolts.methods.pretext.tile_draws import draw_corners
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.patch_towers import pair_head
from sslbolts.optim import OptimizerCallable, parameter_groups
from sslbolts.training.shared_draws import integers, uniform
from sslbolts.transforms.color_defenses import drop_colors, lower_resolution, lower_sides, mean_gray, standardize
from sslbolts.transforms.tiles import TileGrid, cut_tiles

__all__ = ["PairHead", "PatchColors", "RelativePosition"]

PatchColors = Literal["drop", "standardize"]
"""The defense against colors: one channel is kept of each patch; or each patch has mean 0 and deviation 1."""

PairHead = Literal["original", "revisiting"]
"""The layers that see two patches: those of the paper, or those of Kolesnikov et al."""


class RelativePosition(PretextModule):
    """Relative patch position: of two neighboring patches of an image, where is the second as seen from the first?

    Patches are embedded once, one by one; a small head then sees the features of every ordered pair of neighbors. What
    would give the answer away without looking at objects is kept from the network: gaps and jitter keep lines from
    running on in the next patch, and colors, which a lens bends differently far from the center, are taken out, as are
    the differences in sharpness.

    Args:
        backbone: "sslbolts/deepcontext" (:class:`~sslbolts.networks.patch_towers.DeepContext`), or any other network
            for images of the size of a patch.
        grid: rows and columns of patches.
        patch_size: side of a patch, pixels: 96, or 64 of images of 255 pixels, 8 of 32.
        cell_size: from patch to patch, pixels: 144, or 85 and 10.
        jitter: pixels by which a patch is moved in its cell, from 0 on: 14 is the paper's -7 to 7; 21 and 2 of smaller
            images.
        pairs: "all" ordered pairs of neighbors; or "center", the other patches as seen from the central one
            (revisiting).
        colors: "drop" keeps one random channel less its mean, with weak noise in the others (the paper); with
            "standardize" each patch has mean 0 and deviation 1 over all its values (revisiting).
        grayscale_p: probability that an image loses its colors: 0.66 in revisiting, which has no other defense.
        low_resolution_p: probability that a patch is resized to a lower resolution, down to a tenth, and back.
        head: "original", two hidden layers, the first with batch norm without scale and shift; or "revisiting", one
            with batch norm and dropout.
        patch_dim: width of a linear layer on the features of a patch, 1000 in revisiting; None is none.
        hidden_dim: of the head.
        dropout: of the head "revisiting".
        head_weight_decay: of the head's kernels, 5e-4 in revisiting; None is the optimizer's.
        optimizer: SGD; the loss is the mean over pairs, and lr 0.1024 at batch 256 is the paper's 1e-5 on their sum.
            The paper trains a million steps on 512 patches, at one learning rate.
        lr_scaling, warmup_epochs, final_lr, milestones, feature_layer, network: see :class:`~sslbolts.SSLModule` and
            :class:`~sslbolts.methods.pretext.base.PretextModule`. The features are of whole images, with colors as
            patches have them; of "drop" the middle channel, without noise.

    Raises:
        UsageError: for a value out of its range, or patches that do not fit into cells; when training starts, if the
            images are too small.

    Source: Doersch et al., Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015,
    arXiv:1505.05192; "revisiting" is Kolesnikov et al., Revisiting Self-Supervised Visual Representation Learning,
    CVPR 2019, arXiv:1901.09005.

    Example:
        >>> method = RelativePosition("resnet10t", stem="cifar", patch_size=8, cell_size=10, jitter=2, hidden_dim=64)
        >>> len(method.pairs), method.eval()(torch.rand(2, 3, 32, 32)).shape
        (40, torch.Size([2, 512]))
    """

    starts_at_identity = False
    indicators = (
        Indicator(
            "train/accuracy_over_chance",
            "positions are found no more often than by the commonest answer: nothing is learned",
            below=1.1,
            fixes=(
                "a higher learning rate, or more epochs: accuracy stays at chance for long",
                "patches further apart",
            ),
        ),
        Indicator(
            "train/matching_accuracy",
            "positions are found almost always, which objects do not allow: a shortcut",
            above=0.95,
            fixes=("larger gaps and more jitter", 'colors="drop"', "grayscale_p=0.66"),
        ),
    )

    pairs: Tensor

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/deepcontext",
        *,
        grid: int = 3,
        patch_size: int = 96,
        cell_size: int = 144,
        jitter: int = 14,
        pairs: Literal["all", "center"] = "all",
        colors: PatchColors = "drop",
        grayscale_p: float = 0.0,
        low_resolution_p: float = 0.33,
        head: PairHead = "original",
        patch_dim: int | None = None,
        hidden_dim: int = 4096,
        dropout: float = 0.0,
        head_weight_decay: float | None = None,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1024),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 1.0,
        milestones: Sequence[float] = (),
        **network: Unpack[PretextArguments],
    ) -> None:
        fraction(grayscale_p=grayscale_p, low_resolution_p=low_resolution_p, dropout=dropout)
        one_of(("all", "center"), pairs=pairs)
        one_of(get_args(PatchColors), colors=colors)
        one_of(get_args(PairHead), head=head)
        whole(2, grid=grid)
        whole(patch_size=patch_size, patch_dim=patch_dim, hidden_dim=hidden_dim)
        at_least(0, head_weight_decay=head_weight_decay)
        if pairs == "center" and grid != 3:
            raise UsageError(
                f'grid={grid}: the central patch has all others as neighbors with grid=3 (pairs="center").'
            )
        if dropout and head == "original":
            raise UsageError(f'dropout={dropout} has no effect with head="original": leave one of them out.')
        if milestones and final_lr == 1:  # no cosine, in other words
            final_lr = 0.0
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        self.grid = TileGrid(grid, patch_size, cell_size, jitter)
        self.colors = colors
        self.grayscale_p, self.low_resolution_p = grayscale_p, low_resolution_p
        self.head_weight_decay = head_weight_decay
        neighbors = relative_pairs(grid, grid)
        if pairs == "center":
            neighbors = neighbors[neighbors[:, 0] == grid**2 // 2]
        self.register_buffer("pairs", neighbors, persistent=False)
        self.chance = int(neighbors[:, 2].bincount().max()) / len(neighbors)  # of the commonest answer
        width = patch_dim or self.num_features
        self.patch_layer = nn.Identity() if patch_dim is None else nn.Linear(self.num_features, patch_dim)
        self.head = pair_head(width, hidden_dim, original=head == "original", dropout=dropout)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        patches = self.draw_patches(images, self.generator(batch_idx, device=images.device))  # (T, B, C, s, s)
        z = self.patch_layer(self.backbone(patches.flatten(0, 1))).unflatten(0, patches.shape[:2])  # (T, B, D)
        first, second, labels = self.pairs.unbind(1)  # (P,) each
        logits = self.head(torch.cat([z[first], z[second]], 2).flatten(0, 1))  # (P * B, 8)
        labels = labels.repeat_interleave(len(images))
        loss = full_precision(F.cross_entropy)(logits, labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        self.log_matching(accuracy, of=1 / self.chance, batch_size=len(images))
        return loss

    @torch.no_grad()
    def draw_patches(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Patches ``(T, B, C, patch_size, patch_size)`` of images ``(B, C, H, W)``, as the network sees them."""
        count, channels, size = len(images), images.shape[1], self.grid.tile_size
        gray = uniform(count, generator=generator) < self.grayscale_p
        images = torch.where(gray[:, None, None, None], mean_gray(images), images)
        patches = cut_tiles(images, draw_corners(self.grid, images, generator), size)
        if self.low_resolution_p:
            sides = lower_sides(uniform(self.grid.tiles, count, generator=generator, images=1), size)
            low = uniform(self.grid.tiles, count, generator=generator, images=1) < self.low_resolution_p
            with torch.autocast(images.device.type, enabled=False):
                patches = lower_resolution(patches, torch.where(low, sides, size))
        if self.colors == "standardize":
            return standardize(patches)
        keep = integers(self.grid.tiles, count, below=channels, generator=generator, images=1)
        noise = uniform(*patches.shape, generator=generator, images=1).to(patches.dtype)
        return drop_colors(patches, keep, (noise - 0.5) / 255)

    def prepare(self, images: Tensor) -> Tensor:
        if self.colors == "standardize":
            return standardize(images)
        keep = images.new_full((len(images),), images.shape[1] // 2, dtype=torch.int64)
        return drop_colors(images, keep, torch.zeros_like(images))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Kernels, those of the head with a weight decay of their own, and the rest without."""
        if self.head_weight_decay is None:
            return super().parameter_groups()
        trunk, head = parameter_groups(self.backbone, self.patch_layer), parameter_groups(self.head)
        for group in head:
            group.setdefault("weight_decay", self.head_weight_decay)
        return [*trunk, *head]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self.grid.room(min(batch.views[0].shape[-2:]))

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The central patch of each image and a neighbor of it, as they are cut, and where the neighbor is."""
        grid = TileGrid.fitting(min(images.shape[-2:]))
        patches = cut_tiles(images, draw_corners(grid, images, generator), grid.tile_size)
        label = torch.randint(8, (len(images),), generator=generator, device=generator.device)
        center = grid.tiles // 2
        neighbors = patches[label + (label >= center), torch.arange(len(images), device=images.device)]
        names = [DIRECTIONS[found] for found in label.tolist()]
        return [Shown(patches[center], ["center"] * len(images)), Shown(neighbors, names)]
