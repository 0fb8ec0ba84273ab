"""SimMIM: a simple framework for masked image modeling."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, whole
from sslbolts.errors import UsageError
from sslbolts.losses.reconstruction import masked_pixels
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.masked.masks import masked_cells
from sslbolts.networks.backbones import BackboneLike, is_untrained
from sslbolts.networks.vit import changed, compile_blocks, last_tokens
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import uniform

__all__ = ["SimMIM"]


class SimMIM(SSLModule):
    """SimMIM: large cells of an image are hidden, and one linear layer predicts their pixels from the encoder's map.

    A learned token takes the place of hidden patches, and the encoder runs on all: any transformer of timm with a
    patch embedding, Swin's included. Colors are predicted as they are, by their absolute error. The paper's ViT has a
    relative position bias that its layers share, layer scale 0.1 and stochastic depth 0.1; timm's ``vit_relpos_*`` come
    nearest, with a bias for each layer. It clips gradients to a norm of 5, which is the Trainer's to do.

    Args:
        mask_ratio: share of cells that are hidden, in (0, 1), rounded up.
        mask_patch: side of a cell in pixels; the encoder's patches divide it, and it divides the images.
        milestones: parts of the run at which the learning rate is divided by 10; none for a cosine, as for Swin. The
            paper's ViT has it at epoch 700 of 800.
        optimizer: AdamW with the paper's learning rate of 1e-4 at batch 512, which is 5e-5 at 256.
        backbone: a transformer of timm, made for the size of the images.
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or another network; when training starts, for images that are no
            whole number of cells.

    Source: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, CVPR 2022, arXiv:2111.09886.

    Example:
        >>> method = SimMIM("vit_tiny_patch16_224")
        >>> shown, output = method.reconstruct(torch.rand(2, 3, 224, 224))
        >>> output.shape
        torch.Size([2, 3, 224, 224])
    """

    num_views = 1

    def __init__(
        self,
        backbone: BackboneLike = "vit_base_patch16_224",
        *,
        mask_ratio: float = 0.6,
        mask_patch: int = 32,
        milestones: Sequence[float] = (),
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=5e-5, weight_decay=0.05),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        fraction(mask_ratio=mask_ratio)
        whole(mask_patch=mask_patch)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        vit: Any = self.backbone
        if not all(hasattr(vit, part) for part in ("patch_embed", "forward_features", "forward_head")):
            raise UsageError(
                f"SimMIM trains transformers of timm with a patch embedding, and {type(vit).__name__} is none: give "
                'backbone= e.g. "vit_small_patch16_224" or "swin_tiny_patch4_window7_224".'
            )
        self.mask_ratio = mask_ratio
        self.mask_patch = mask_patch
        self.patch_size: int = vit.patch_embed.patch_size[0]
        if mask_patch % self.patch_size:
            raise UsageError(f"mask_patch={mask_patch}: the backbone's patches of {self.patch_size} must divide it.")
        embedding = vit.patch_embed.proj
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embedding.out_channels))
        _cut_normal(self.mask_token)
        if hasattr(vit, "blocks") and is_untrained(backbone, network.get("backbone_kwargs")):
            _start_as_published(vit)
        self.stride: int = vit.feature_info[-1]["reduction"]
        values = self.stride**2 * embedding.in_channels
        self.decoder = nn.Sequential(nn.Conv2d(self.num_features, values, 1), nn.PixelShuffle(self.stride))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        generator = self.generator(batch_idx, device=images.device)
        mask = masked_cells(
            uniform(len(images), *self.cells(images), generator=generator), self.mask_ratio
        )  # (B, h, w)
        loss = masked_pixels(self.fill_in(images, mask), images, mask)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def cells(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of cells."""
        height, width = images.shape[2:]
        return height // self.mask_patch, width // self.mask_patch

    def fill_in(self, images: Tensor, mask: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` as predicted from the cells that ``mask`` ``(B, h, w)`` leaves."""
        vit: Any = self.backbone
        side = self.mask_patch // self.patch_size
        hidden = mask.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)[..., None]

        def replace(patches: Tensor) -> Tensor:  # (B, L, D), or (B, rows, columns, D)
            flat = patches.flatten(1, -2)
            return torch.where(hidden, self.mask_token.to(flat.dtype), flat).view_as(patches)

        with changed(vit.patch_embed, replace):
            features = last_tokens(vit, images)
        if features.ndim == 3:  # tokens (B, prefix + L, D)
            rows, columns = (side // self.stride for side in images.shape[2:])
            features = features[:, vit.num_prefix_tokens :].reshape(len(images), rows, columns, -1)
        output: Tensor = self.decoder(features.permute(0, 3, 1, 2))
        return output

    def compile_network(self) -> None:
        compile_blocks(self.backbone)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` without the hidden cells, and with these as predicted."""
        mask = masked_cells(torch.rand(len(images), *self.cells(images), device=images.device), self.mask_ratio)
        output = self.fill_in(images, mask).to(images.dtype)
        hidden = mask.repeat_interleave(self.mask_patch, 1).repeat_interleave(self.mask_patch, 2)[:, None]
        return images * ~hidden, torch.where(hidden, output, images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        height, width = batch.views[0].shape[2:]
        if height % self.mask_patch or width % self.mask_patch:
            raise UsageError(
                f"images of {height} x {width} pixels are no whole number of cells of mask_patch={self.mask_patch}."
            )


def _cut_normal(weight: Tensor) -> None:
    """Normal numbers of deviation 0.02, none of them larger than that."""
    nn.init.trunc_normal_(weight, std=0.02, a=-0.02, b=0.02)


@torch.no_grad()
def _start_as_published(vit: Any) -> None:
    """Weights of a timm vision transformer as the official code has them: each block adds less than the one before."""
    for layer in vit.modules():
        if isinstance(layer, nn.Linear):
            _cut_normal(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for number, block in enumerate(vit.blocks, start=1):
        block.attn.proj.weight /= (2 * number) ** 0.5
        block.mlp.fc2.weight /= (2 * number) ** 0.5
