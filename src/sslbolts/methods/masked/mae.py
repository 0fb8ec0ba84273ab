"""MAE: masked autoencoders are scalable vision learners."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, whole
from sslbolts.health import Indicator
from sslbolts.losses.reconstruction import masked_patches, patchify, unpatchify
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.masked.masks import PatchMask, random_patches
from sslbolts.networks.backbones import BackboneLike, is_untrained
from sslbolts.networks.vit import (
    PatchDecoder,
    compile_blocks,
    last_tokens,
    only_patches,
    refuse_other_size,
    refuse_others,
    sin_cos_positions,
    xavier_start,
)
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import uniform

__all__ = ["MAE"]


class MAE(SSLModule):
    """MAE: most patches of an image are hidden, and a small decoder predicts their pixels from the few that are seen.

    The encoder runs on the patches that are seen alone, which makes a step cheap; at evaluation it sees all. Its
    positions are fixed. The features are the class token, or the mean of the patches with
    ``backbone_kwargs={"global_pool": "avg"}``; of a training batch probes read those of the patches
    that are seen. Class and mask tokens are decayed, as in the official code; biases and norms are not.

    Args:
        mask_ratio: share of patches that are hidden, in (0, 1).
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: of its attention.
        normalize_patches: predict pixels less their patch's mean, by its standard deviation.
        optimizer: AdamW with the paper's betas, lr 1.5e-4 at batch 256.
        backbone: a vision transformer of timm, made for the size of the images (``backbone_kwargs={"img_size": 32,
            "patch_size": 4}``).
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or another network; when training starts, if images have another size
            than the network.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377.

    Example:
        >>> method = MAE("vit_tiny_patch16_224", decoder_dim=64, decoder_depth=1, decoder_heads=4)
        >>> shown, output = method.reconstruct(torch.rand(2, 3, 224, 224))
        >>> output.shape
        torch.Size([2, 3, 224, 224])
    """

    num_views = 1
    indicators = (
        Indicator(
            metric="train/loss_of_mean",
            above=0.995,
            meaning="the pixels are predicted no better than by the mean of each patch",
            fixes=("more epochs: the loss stays at this level for a while", "a larger learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "vit_base_patch16_224",
        *,
        mask_ratio: float = 0.75,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        normalize_patches: bool = True,
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 40.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        fraction(mask_ratio=mask_ratio)
        whole(decoder_dim=decoder_dim, decoder_depth=decoder_depth, decoder_heads=decoder_heads)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        refuse_others(self.backbone, "MAE")
        if is_untrained(backbone, network.get("backbone_kwargs")):
            _start_as_published(self.backbone)
        self.mask_ratio = mask_ratio
        self.normalize_patches = normalize_patches
        vit: Any = self.backbone
        self.patch_size: int = vit.patch_embed.patch_size[0]
        self.decoder = PatchDecoder(
            self.num_features,
            vit.patch_embed.grid_size,
            self.patch_size**2 * vit.patch_embed.proj.in_channels,
            prefix=vit.num_prefix_tokens,
            dim=decoder_dim,
            depth=decoder_depth,
            heads=decoder_heads,
            mlp_ratio=vit.blocks[0].mlp.fc1.out_features / self.num_features,
        )

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        noise = uniform(len(images), self.num_patches, generator=self.generator(batch_idx, device=images.device))
        patches = random_patches(noise, self.mask_ratio)
        predictions = self.predict_patches(images, patches)  # (B, L, patch * patch * C)
        loss = self.compare(predictions, images, patches.hidden)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        by_mean = self.loss_of_mean(images, patches.hidden)
        self.log("train/loss_of_mean", loss.detach() / by_mean, batch_size=len(images))
        return loss

    @property
    def num_patches(self) -> int:
        """Patches of an image, `L`."""
        return len(self.decoder.positions) - self.decoder.prefix

    def predict_patches(self, images: Tensor, patches: PatchMask) -> Tensor:
        """Pixels ``(B, L, patch * patch * C)`` of all patches, from those that are seen."""
        vit: Any = self.backbone
        with only_patches(vit, patches.keep):
            tokens = last_tokens(vit, images)  # (B, prefix + K, D)
        predictions: Tensor = self.decoder(tokens, patches.restore)
        return predictions

    def compile_network(self) -> None:
        compile_blocks(self.backbone)

    def compare(self, predictions: Tensor, images: Tensor, hidden: Tensor) -> Tensor:
        """The loss of predicted pixels ``(B, L, patch * patch * C)`` over the patches in ``hidden`` ``(B, L)``."""
        return masked_patches(predictions, images, hidden, patch=self.patch_size, normalize=self.normalize_patches)

    def loss_of_mean(self, images: Tensor, hidden: Tensor) -> Tensor:
        """The loss of predicting each patch's mean."""
        pixels = patchify(images, self.patch_size)
        mean = torch.zeros_like(pixels) if self.normalize_patches else pixels.mean(2, keepdim=True).expand_as(pixels)
        return self.compare(mean, images, hidden)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` as the encoder sees them, and with the hidden patches as predicted."""
        noise = torch.rand(len(images), self.num_patches, device=images.device)
        patches = random_patches(noise, self.mask_ratio)
        whole_image, predictions = patchify(images, self.patch_size), self.predict_patches(images, patches)
        if self.normalize_patches:
            std = (whole_image.var(2, keepdim=True) + 1e-6).sqrt()
            predictions = predictions * std + whole_image.mean(2, keepdim=True)
        hidden = patches.hidden[..., None]
        size = (self.patch_size, *images.shape[2:])
        return (
            unpatchify(whole_image * ~hidden, *size),
            unpatchify(torch.where(hidden, predictions.to(images.dtype), whole_image), *size),
        )

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[tuple[Tensor, list[str]]]:
        """Images with the paper's share of patches hidden, as the encoder sees them: pictures, and what is on them."""
        patch = 16 if images.shape[-1] > 64 else 4
        whole_image = patchify(images, patch)  # (N, L, patch * patch * C)
        patches = random_patches(torch.rand(whole_image.shape[:2], generator=generator), 0.75)
        seen = unpatchify(whole_image * ~patches.hidden[..., None], patch, *images.shape[2:])
        return [(seen, ["25 % seen"] * len(images))]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        refuse_other_size(self.backbone, batch.views[0])


@torch.no_grad()
def _start_as_published(vit: Any) -> None:
    """Weights and fixed positions of a timm vision transformer as the official code has them."""
    xavier_start(vit)
    vit.pos_embed.zero_()  # also the class token's, where it has one
    rows, columns = vit.patch_embed.grid_size
    positions = sin_cos_positions(rows, columns, vit.pos_embed.shape[2])
    vit.pos_embed[0, -len(positions) :] = positions
    vit.pos_embed.requires_grad_(False)
    if vit.cls_token is not None:
        nn.init.normal_(vit.cls_token, std=0.02)
