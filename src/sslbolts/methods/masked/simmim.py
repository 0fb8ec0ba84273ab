"""SimMIM: a simple framework for masked image modeling."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.reconstruction import enlarged, masked_pixels
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.masked.masks import random_cells
from sslbolts.networks.backbones import BackboneLike, is_untrained
from sslbolts.networks.vit import (
    PixelDecoder,
    compile_blocks,
    last_tokens,
    masked_embeddings,
    refuse_other_size,
    small_normal_start,
)
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import uniform

__all__ = ["SimMIM"]


class SimMIM(SSLModule):
    """SimMIM: large cells of an image are hidden behind a learned token, and one linear layer predicts their pixels.

    The encoder sees all tokens, hidden ones too, so that any transformer will do; what it predicts are plain pixels,
    compared by their absolute error. The paper's ViT is timm's ``beit_base_patch16_224`` with one bias for relative
    positions that all blocks share and no absolute positions, see ``configs/simmim_imagenet.yaml``. A vision
    transformer given by name starts as the official code's; other networks, and modules, as they are. Of a training
    batch probes read the features of images with hidden cells.

    Args:
        mask_ratio: share of cells that are hidden, in (0, 1).
        mask_size: side of a cell, pixels: a multiple of the patch of a token, of which the image is a multiple.
        optimizer: AdamW, lr 5e-5 at batch 256.
        milestones: parts of the run at which the learning rate drops to a tenth, e.g. (0.875,) for the ViT; () is the
            cosine.
        backbone: a vision transformer, BEiT or Swin of timm, made for the size of the images
            (``backbone_kwargs={"img_size": 32, "patch_size": 4}``).
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, cells that do not fit, or another network; when training starts, if
            images have another size than the network.

    Source: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, CVPR 2022, arXiv:2111.09886.

    Example:
        >>> method = SimMIM("vit_tiny_patch16_224")
        >>> shown, output = method.reconstruct(torch.rand(2, 3, 224, 224))
        >>> output.shape
        torch.Size([2, 3, 224, 224])
    """

    num_views = 1
    indicators = (
        Indicator(
            metric="train/loss_of_mean",
            above=0.98,
            meaning="hidden pixels are predicted no better than by the mean color of what is seen of the image",
            fixes=("more epochs: the loss stays at this level for a while", "a larger learning rate"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "vit_base_patch16_224",
        *,
        mask_ratio: float = 0.6,
        mask_size: int = 32,
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=5e-5, weight_decay=0.05),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (),
        **network: Unpack[NetworkArguments],
    ) -> None:
        fraction(mask_ratio=mask_ratio)
        whole(mask_size=mask_size)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        transformer: Any = self.backbone
        _refuse_others(transformer)
        if is_untrained(backbone, network.get("backbone_kwargs")) and hasattr(transformer, "blocks"):
            small_normal_start(transformer)
        self.mask_ratio = mask_ratio
        self.patch_size: int = transformer.patch_embed.patch_size[0]
        size: tuple[int, int] = tuple(transformer.patch_embed.img_size)
        if mask_size % self.patch_size or any(side % mask_size for side in size):
            raise UsageError(
                f"mask_size={mask_size}: cells are whole numbers of the network's patches of {self.patch_size} pixels, "
                f"and fill its images of {size[0]} x {size[1]}: give e.g. mask_size={2 * self.patch_size}."
            )
        self.cells = size[0] // mask_size, size[1] // mask_size
        random_cells(torch.zeros(1, *self.cells), mask_ratio)  # refuses a ratio that leaves none, or hides none
        self.patches_per_cell = mask_size // self.patch_size
        projection, stride = transformer.patch_embed.proj, transformer.feature_info[-1]["reduction"]
        self.grid = size[0] // stride, size[1] // stride
        # Tensors of one dimension are not decayed: as in the official code, in networks of stages.
        one_by_one = (1, 1) if hasattr(transformer, "blocks") else ()
        self.mask_token = nn.Parameter(torch.zeros(*one_by_one, projection.out_channels))
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)
        self.decoder = PixelDecoder(self.num_features, stride=stride, channels=projection.in_channels)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        noise = uniform(len(images), *self.cells, generator=self.generator(batch_idx, device=images.device))
        mask = random_cells(noise, self.mask_ratio)  # (B, rows, columns)
        loss = self.compare(self.predict_pixels(images, mask), images, mask)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        by_mean = self.compare(_mean_of_seen(images, mask), images, mask)
        self.log("train/loss_of_mean", loss.detach() / by_mean, batch_size=len(images))
        return loss

    def predict_pixels(self, images: Tensor, mask: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` as predicted from what ``mask`` ``(B, rows, columns)`` leaves of them."""
        patches = enlarged(mask, self.patches_per_cell)
        with masked_embeddings(self.backbone, patches, self.mask_token):
            tokens = last_tokens(self.backbone, images)
        predictions: Tensor = self.decoder(tokens, self.grid)
        return predictions

    def compare(self, predictions: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """The loss over the hidden cells, of which all ranks have equally many."""
        return masked_pixels(predictions, images, mask, eps=1e-5 / world_size())

    def compile_network(self) -> None:
        compile_blocks(self.backbone)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` as the encoder sees them, and with the hidden cells as predicted."""
        mask = random_cells(torch.rand(len(images), *self.cells, device=images.device), self.mask_ratio)
        predictions = self.predict_pixels(images, mask).to(images.dtype)
        hidden = enlarged(mask, self.patches_per_cell * self.patch_size)[:, None]
        return images * ~hidden, torch.where(hidden, predictions, images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        refuse_other_size(self.backbone, batch.views[0])


def _mean_of_seen(images: Tensor, mask: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` of one color each, the mean of what is not hidden."""
    seen = ~enlarged(mask, images.shape[2] // mask.shape[1])[:, None]
    mean = (images * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True)
    return mean.expand_as(images)


def _refuse_others(network: Any) -> None:
    embedding = getattr(network, "patch_embed", None)
    in_blocks = hasattr(network, "blocks") or hasattr(network, "layers")
    if not (hasattr(embedding, "proj") and hasattr(embedding, "img_size") and hasattr(network, "norm") and in_blocks):
        raise UsageError(
            f"SimMIM trains vision transformers and Swin of timm, and {type(network).__name__} is none: give backbone= "
            'e.g. "vit_small_patch16_224".'
        )
