"""MoCo v3: momentum contrast within the batch, for ResNets and vision transformers."""

import math
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.callbacks.ema import EMATeacher
from sslbolts.checks import fraction, positive, whole
from sslbolts.health import accuracy_over_chance
from sslbolts.losses import matching_accuracy, moco_v3_contrastive
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike, is_untrained
from sslbolts.networks.heads import LastNorm, mlp
from sslbolts.networks.teacher import Teacher
from sslbolts.networks.vit import sin_cos_positions
from sslbolts.optim import LARS, OptimizerCallable

__all__ = ["MoCoV3"]


class MoCoV3(SSLModule):
    """MoCo v3: a prediction finds the teacher's key of the other view among the keys of the global batch.

    Each view has batch-norm statistics of its own, in the student and in the teacher. The teacher moves after each
    optimizer step; the official code moves it before the next key, which is the same sequence but for one step of the
    momentum's schedule.

    Heads follow the backbone. A vision transformer gets a projector of three layers and a predictor that ends in batch
    norm; a ResNet a projector of two and a predictor that does not. The patch embedding of a vision transformer is
    frozen, without which training is unstable. If it is given by name and not pretrained, it starts as in the official
    code: Xavier weights, in attention for queries, keys and values each, and sines and cosines as fixed positions.
    As there, all parameters of a vision transformer are decayed; of a ResNet only matrices and kernels.

    The defaults are a ResNet-50's for 300 epochs. For a vision transformer: ``temperature=0.2``, AdamW with
    ``lr=1.5e-4, weight_decay=0.1``, ``warmup_epochs=40``; the paper's ViT-S has 12 heads,
    ``backbone_kwargs={"num_heads": 12}``.

    Args:
        backbone: see :class:`SSLModule`; one with a ``patch_embed`` is a vision transformer.
        hidden_dim: width of the hidden layers of projector and predictor.
        output_dim: width of the embeddings.
        temperature: `τ`; 1.0 for a ResNet, 0.2 for a vision transformer.
        momentum: of the teacher at the beginning (0.99; 0.996 for 1000 epochs); it rises to 1.
        freeze_patch_embed: leave the patch embedding of a vision transformer as it starts. No effect on others.
        optimizer: LARS; 0.6 for 100 epochs.
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range.

    Source: Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021,
    arXiv:2104.02057.

    Example:
        >>> method = MoCoV3("resnet18", stem="cifar", hidden_dim=1024)
        >>> [layer.__class__.__name__ for layer in method.predictor]
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """

    starts_at_identity = True
    indicators = (
        accuracy_over_chance(
            "a prediction finds its key",
            "a lower learning rate or a longer warm-up",
            "a temperature in 0.2 to 1",
            "a larger batch",
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        temperature: float = 1.0,
        momentum: float = 0.99,
        freeze_patch_embed: bool = True,
        optimizer: OptimizerCallable = lambda params: LARS(params, lr=0.3, weight_decay=1e-6),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 10.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(hidden_dim=hidden_dim, output_dim=output_dim)
        positive(temperature=temperature)
        fraction(momentum=momentum)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.temperature = temperature
        self.momentum = momentum
        self.is_transformer = hasattr(self.backbone, "patch_embed")
        self.decay_vectors = self.is_transformer
        if self.is_transformer:
            if is_untrained(backbone, network.get("backbone_kwargs")):
                _start_as_published(self.backbone)
            if freeze_patch_embed:
                self.backbone.patch_embed.requires_grad_(False)
        hidden = (hidden_dim, hidden_dim) if self.is_transformer else (hidden_dim,)
        end: LastNorm = "plain" if self.is_transformer else "none"
        self.projector = mlp(self.num_features, *hidden, output_dim, bias=False, last_bias=False, last_norm="plain")
        self.predictor = mlp(output_dim, hidden_dim, output_dim, bias=False, last_bias=False, last_norm=end)
        self.teacher = Teacher(self.backbone, self.projector)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        x1, x2 = batch.views
        q1 = self.predictor(self.projector(self.backbone(x1)))  # (B, output_dim)
        q2 = self.predictor(self.projector(self.backbone(x2)))
        k1, k2 = self.teacher(x1), self.teacher(x2)
        loss = moco_v3_contrastive(q1, k2, self.temperature) + moco_v3_contrastive(q2, k1, self.temperature)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(x1))
        self.log_matching(matching_accuracy(q1, k2), of=len(x1), batch_size=len(x1))
        return loss

    def configure_callbacks(self) -> list[Callback]:
        return [EMATeacher(self.momentum)]


@torch.no_grad()
def _start_as_published(vit: Any) -> None:
    """Weights and positions of a timm vision transformer as the official code has them."""
    for name, layer in vit.named_modules():
        if isinstance(layer, nn.Linear):
            parts = 3 if name.endswith("qkv") else 1  # each a matrix of its own
            bound = math.sqrt(6 / (layer.out_features // parts + layer.in_features))
            layer.weight.uniform_(-bound, bound)
            if layer.bias is not None:
                layer.bias.zero_()
    projection = vit.patch_embed.proj
    bound = math.sqrt(6 / (projection.weight[0].numel() + projection.out_channels))
    projection.weight.uniform_(-bound, bound)
    projection.bias.zero_()
    prefix = vit.pos_embed.shape[1] - vit.patch_embed.num_patches  # the class token
    vit.pos_embed[:, :prefix] = 0
    height, width = vit.patch_embed.grid_size
    vit.pos_embed[:, prefix:] = sin_cos_positions(height, width, vit.pos_embed.shape[2], row_first=True)
    vit.pos_embed.requires_grad_(False)
    if vit.cls_token is not None:
        nn.init.normal_(vit.cls_token, std=1e-6)
