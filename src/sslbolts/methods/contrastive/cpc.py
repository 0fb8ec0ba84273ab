"""CPC: contrastive predictive coding of images, in its second version."""

import math
from typing import Any, Unpack, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from sslbolts._lightning import rank_zero_warn
from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import loss_of_chance
from sslbolts.losses import cpc
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.split_batch_norm import BATCH_NORMS
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import uniform

__all__ = ["CPC", "MaskedContext"]

_TURNS = (0, 2, 1, 3)  # quarter turns of the grid that put what is predicted below: down, up, and both sides


class MaskedContext(nn.Module):
    """A PixelCNN without gates: what a position gives depends on its own row and those above it alone.

    Five residual blocks of 1x1, 1x3, 2x1 and 1x1 convolutions; before the 2x1 one, a row of zeros is put on top.

    Args:
        dim: channels of the grid.
        hidden_dim: channels inside a block.
        blocks: their number; each looks one row further up.

    Example:
        >>> context, grid = MaskedContext(8, hidden_dim=4), torch.randn(1, 8, 5, 5, requires_grad=True)
        >>> context(grid)[0, :, 2].sum().backward()
        >>> (grid.grad.abs().sum((0, 1, 3)) > 0).tolist()  # rows that the third one sees
        [True, True, True, False, False]
    """

    def __init__(self, dim: int, *, hidden_dim: int = 256, blocks: int = 5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim, hidden_dim, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden_dim, hidden_dim, (1, 3), padding=(0, 1)),
                nn.ZeroPad2d((0, 0, 1, 0)),
                nn.Conv2d(hidden_dim, hidden_dim, (2, 1)),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden_dim, dim, 1),
            )
            for _ in range(blocks)
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Contexts ``(B, D, H, W)`` of a grid of features ``(B, D, H, W)``."""
        for block in self.blocks:
            grid = grid + block(grid)
        return grid.relu()


class _GridMean(nn.Module):
    """Mean over the patches of an image: ``(patches, B, D) -> (B, D)``; a module, so that a probe can hook it."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(0)


class CPC(SSLModule):
    r"""CPC v2: from the upper rows of an image's patches, predict which patch is further below; in all four directions.

    An image is cut into overlapping patches, and each goes through the backbone on its own. A masked convolution over
    the grid makes contexts `c`, from which a linear head per step `k` predicts the features of the patch `k` rows
    below, among all patches of the batch (:func:`sslbolts.losses.cpc`). The first `k` is the least for which patches do
    not overlap. Each of the four directions has a context network and heads of its own. The loss is the mean over steps
    and directions, where the paper's listing has the sum.

    The features for other tasks are the mean of the backbone's over the patches: ``OnlineLinearProbe(features="pool")``
    probes those while training; with "backbone", each patch would be probed on its own.

    Batch norm would let patches tell each other what image they come from; a backbone that is given by name is made
    with layer norm, as in the paper. In training, a patch is moved inside its frame by up to ``patch_margin`` pixels
    (as in CPC v1, which takes 60 of 64) and loses two of its three channels at times. Changes of a whole image's colors
    would give its patches away; the recipe "cpc" has none. The paper leaves open how often a patch loses its channels,
    and from what part of an image crops are taken in the recipe "cpc"; both are chosen here. Left out are the paper's
    further changes to single patches, and its Polyak averaging of the weights, in whose place the learning rate falls.

    Args:
        backbone: see :class:`SSLModule`. The paper's ResNet-161 is not in timm; its ResNet-50 reached 63.8 %.
        patch_size: side of a patch, pixels: 80 of 260; 8 of 32.
        stride: from patch to patch, pixels: 36 of 260; 4 of 32.
        patch_margin: pixels that the noise takes off each side of a patch.
        color_drop: probability that a patch keeps only one channel.
        steps: how many `k` there are, one after another. The listing has one.
        directions: 1 (down only, as in v1) to 4.
        context_dim: channels inside the context network.
        target_dim: width in which predictions and targets are compared.
        optimizer: Adam as in the paper, lr 4e-4 at batch 512; the paper also clips gradients to a norm of 0.01.
        lr_scaling: as in :class:`SSLModule`; the paper has one learning rate.
        warmup_epochs: none in the paper.
        final_lr, network: see :class:`SSLModule`. Without ``backbone_kwargs`` a backbone given by name has
            ``{"norm_layer": "groupnorm1"}``; one that has no batch norm, or does not know this argument, takes ``{}``
            (``nf_resnet50``, ``convnext_tiny``).

    Raises:
        UsageError: for a value out of its range; when training starts, if the grid is too small for the steps.

    Source: Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, ICML 2020,
    arXiv:1905.09272; van den Oord et al., Representation Learning with Contrastive Predictive Coding, arXiv:1807.03748.

    Example:
        >>> method = CPC("resnet10t", stem="cifar", patch_size=8, stride=4, steps=3)
        >>> method.first_offset, method.eval()(torch.rand(2, 3, 32, 32)).shape
        (2, torch.Size([2, 512]))
    """

    starts_at_identity = True
    num_views = 1
    indicators = (
        loss_of_chance(
            "guessing among all patches of the batch",
            "a lower learning rate, or gradients clipped to a small norm",
            "a larger batch",
            of="features",
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        patch_size: int = 80,
        stride: int = 36,
        patch_margin: int = 2,
        color_drop: float = 0.25,
        steps: int = 1,
        directions: int = 4,
        context_dim: int = 256,
        target_dim: int = 64,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=4e-4, betas=(0.8, 0.999)),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(patch_size=patch_size, stride=stride, steps=steps, context_dim=context_dim, target_dim=target_dim)
        whole(0, patch_margin=patch_margin)
        fraction(color_drop=color_drop)
        if stride > patch_size:
            raise UsageError(f"stride={stride}: it must be in [1, patch_size={patch_size}], or pixels are left out.")
        if 2 * patch_margin >= patch_size:
            raise UsageError(
                f"patch_margin={patch_margin}: a margin on both sides must leave some of {patch_size} pixels."
            )
        if directions not in range(1, 5):
            raise UsageError(f"directions={directions}: give 1 to 4 directions.")
        if network.get("backbone_kwargs") is None and isinstance(backbone, str):
            network["backbone_kwargs"] = {"norm_layer": "groupnorm1"}
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        if any(isinstance(module, BATCH_NORMS) for module in self.backbone.modules()):
            rank_zero_warn(
                "CPC's backbone has batch norm, whose statistics tell a patch about the others of its image: take one "
                "with layer norm, group norm or none."
            )
        self.patch_size, self.stride = patch_size, stride
        self.patch_margin, self.color_drop = patch_margin, color_drop
        self.first_offset = math.ceil(patch_size / stride)  # the first row that shares no pixel
        width = self.num_features
        self.pool = _GridMean()
        self.target = nn.Conv2d(width, target_dim, 1)
        self.contexts = nn.ModuleList(MaskedContext(width, hidden_dim=context_dim) for _ in range(directions))
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, target_dim, 1) for _ in range(steps)) for _ in range(directions)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, num_features)`` of images ``(B, C, H, W)``: the mean over their patches, without noise."""
        patches = self.patches(x)
        features: Tensor = self.pool(self.backbone(patches.flatten(0, 2)).unflatten(0, (-1, len(x))))
        return features

    def patches(self, x: Tensor) -> Tensor:
        """The grid of patches ``(rows, columns, B, C, patch_size, patch_size)`` of images ``(B, C, H, W)``."""
        cut = x.unfold(2, self.patch_size, self.stride).unfold(3, self.patch_size, self.stride)
        return cut.permute(2, 3, 0, 1, 4, 5)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        patches = self.patches(batch.views[0])
        rows, columns, images = patches.shape[:3]
        patches = self._with_noise(patches.flatten(0, 1), batch_idx).flatten(0, 1)
        z = self.backbone(patches.contiguous(memory_format=torch.channels_last)).unflatten(0, (rows, columns, images))
        self.pool(z.detach().flatten(0, 1))  # for probes
        z = z.permute(2, 3, 0, 1)  # (B, D, rows, columns)
        targets = self.target(z)
        losses = []
        for turns, context, heads in zip(_TURNS, self.contexts, self.heads):
            c, t = context(z.rot90(turns, (2, 3))), targets.rot90(turns, (2, 3))
            for offset, head in enumerate(cast(nn.ModuleList, heads), start=self.first_offset):
                losses.append(cpc(head(c).permute(0, 2, 3, 1), t.permute(0, 2, 3, 1), offset))
        loss = torch.stack(losses).mean()
        chance = math.log(images * world_size() * rows * columns)
        self.log("train/loss", loss, prog_bar=True, batch_size=images)
        self.log("train/loss_of_chance", loss.detach() / chance, batch_size=images)
        return loss

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        side = min(batch.views[0].shape[-2:])
        rows = (side - self.patch_size) // self.stride + 1
        needed = self.first_offset + len(self.heads[0])  # type: ignore[arg-type]
        if rows < needed:
            raise UsageError(
                f"images of {side} pixels give {max(rows, 0)} rows of patches (patch_size={self.patch_size}, "
                f"stride={self.stride}), but predicting from {self.first_offset} rows above takes {needed}: give "
                "smaller patches, fewer steps or larger images."
            )

    def _with_noise(self, patches: Tensor, batch_idx: int) -> Tensor:
        """Patches ``(P, B, C, S, S)``, each moved, and some left with one channel."""
        places, images, channels, size, _ = patches.shape
        drawn = self.generator(batch_idx, device=patches.device)
        down, right, dropped, kept = (uniform(places, images, generator=drawn, images=1) for _ in range(4))
        if self.patch_margin:
            inner = torch.arange(size - 2 * self.patch_margin, device=patches.device)
            top, left = ((shift * (2 * self.patch_margin + 1)).long()[..., None] + inner for shift in (down, right))
            patches = patches.gather(3, top[:, :, None, :, None].expand(-1, -1, channels, -1, size))
            patches = patches.gather(4, left[:, :, None, None, :].expand(-1, -1, channels, len(inner), -1))
            patches = F.pad(patches, [self.patch_margin] * 4)
        if self.color_drop and channels > 1:
            channel = torch.arange(channels, device=patches.device)
            stays = (dropped >= self.color_drop)[..., None] | (
                channel == (kept * channels).long()[..., None]
            )  # (P, B, C)
            patches = patches * stays[..., None, None]
        return patches
