"""Colorization: colorful image colorization."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, positive, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator, loss_of_chance
from sslbolts.losses.colorization import colorization, constant_guess, pixel_weights
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, Shown
from sslbolts.methods.pretext.color_prior import ColorPrior
from sslbolts.methods.pretext.lab import LabModule, as_maps, binned, gray_and_colored, pixels, pixels_at, scaled_lab
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.shared_trunk import SharedTrunk
from sslbolts.networks.taps import feature_maps, last_stages, map_widths
from sslbolts.networks.widths import first_convolution
from sslbolts.optim import OptimizerCallable
from sslbolts.transforms.lab import NUM_COLORS, annealed_mean, rgb_to_lab, soft_codes

__all__ = ["Colorization"]


class Colorization(LabModule):
    """Colorization: the color of every pixel is predicted from the lightness of the image, as one of 313 classes.

    A pixel's target is spread over the nearest bins of ab. Its loss is weighed by the rarity of its color, so that the
    gray of most pixels does not win; rarity is estimated from the images of the run so far, the same on all ranks. An
    image without any color (no a or b beyond 5 on either side) counts for nothing. The network sees L alone: no color
    that it could copy reaches it.

    Images must be in [0, 1], as the views "colorization" make them. The features of :meth:`forward` are those of such
    images; the exported backbone itself takes one channel, ``(L - 50) / 50``, which :meth:`prepare` makes.

    Args:
        backbone: takes one channel, as networks given by name then do; the paper's is AlexNet,
            :class:`sslbolts.networks.dilated_alexnet.DilatedAlexNet`.
        layer: of the backbone, whose maps the head reads; None is the last stage. Layers behind it are not trained.
        stride: every so many pixels of each axis one color is predicted; maps are resized to that grid.
        neighbors: nearest bins that share a pixel: 10 in the published code, 5 in the paper.
        lambd: weight of the uniform distribution that the colors' own is mixed with before weights are its inverse; 1
            weighs all colors alike.
        temperature: for :meth:`reconstruct`, see :func:`~sslbolts.transforms.lab.annealed_mean`.
        bias_lr_scale: learning rate of biases and norms, which are not decayed, over that of the weights.
        optimizer: Adam as in the paper, at batches of 80 images.
        lr_scaling: the paper has one batch size, and so no rule.
        milestones: parts of the run at which the learning rate is divided by the root of 10: 240, 300 and 400 of 450
            thousand steps. None for a cosine.
        warmup_epochs, final_lr, network: see :class:`~sslbolts.methods.pretext.base.PretextModule`.

    Raises:
        UsageError: for a value out of its range, or a backbone of other than one channel; when a run starts, for images
            that are not RGB in [0, 1].

    Source: Zhang et al., Colorful Image Colorization, ECCV 2016, arXiv:1603.08511.

    Example:
        >>> method = Colorization("resnet18", stem="cifar", stride=4)
        >>> images = torch.rand(2, 3, 32, 32)
        >>> gray, colored = method.eval().reconstruct(images)
        >>> method(images).shape, colored.shape
        (torch.Size([2, 512]), torch.Size([2, 3, 32, 32]))
    """

    reads_inner_layer = True
    indicators = (
        Indicator(
            metric="train/saturation",
            below=0.5,
            meaning="predicted colors have less than half the saturation of the true ones: nearly gray wins everywhere",
            fixes=("a smaller lambd, which weighs rare colors more", "more epochs, or a larger learning rate"),
        ),
        loss_of_chance("predicting one distribution of colors everywhere", "more epochs", of="features"),
    )

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/dilated_alexnet",
        *,
        layer: str | None = None,
        stride: int = 8,
        neighbors: int = 10,
        lambd: float = 0.5,
        temperature: float = 0.3837,
        bias_lr_scale: float = 2.0,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=3e-5, weight_decay=1e-3),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (8 / 15, 2 / 3, 8 / 9),
        **network: Unpack[PretextArguments],
    ) -> None:
        whole(stride=stride, neighbors=neighbors)
        fraction(lambd=lambd)
        positive(temperature=temperature)
        if neighbors > NUM_COLORS:
            raise UsageError(f"neighbors={neighbors}: there are {NUM_COLORS} bins.")
        if isinstance(backbone, str):
            if network.get("in_chans", 3) not in (1, 3):
                raise UsageError(
                    f"in_chans={network['in_chans']}: images must have three, of which the network sees one."
                )
            network["in_chans"] = 1  # of the backbone
        super().__init__(
            backbone,
            optimizer,
            lr_scaling,
            warmup_epochs,
            final_lr,
            bias_lr_scale=bias_lr_scale,
            milestones=milestones,
            **network,
        )
        first = first_convolution(self.backbone)
        if first is not None and first.in_channels != 1 and not isinstance(self.backbone, SharedTrunk):
            raise UsageError(
                f"Colorization shows its backbone lightness alone, but this one takes {first.in_channels} channels: "
                "make it with in_chans=1."
            )
        self.layer = layer or last_stages(self.backbone, 1)[0]
        self.stride = stride
        self.neighbors = neighbors
        self.lambd = lambd
        self.temperature = temperature
        (width,) = map_widths(self.backbone, [self.layer], 1)
        self.head = nn.Conv2d(width, NUM_COLORS, 1)
        self.colors = ColorPrior()

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        lab = self.lab(images)  # (B, 3, H, W)
        ab = lab[:, 1:, :: self.stride, :: self.stride]  # (B, 2, h, w)
        logits = pixels_at(ab.shape[2:], self.predict_colors(lab[:, :1], images.dtype))  # (P, Q), P = B * h * w
        truth = pixels(ab)  # (P, 2)
        codes = soft_codes(truth, neighbors=self.neighbors)  # (P, Q)
        colored = (ab.abs() > 5).any(1).flatten(1).any(1, keepdim=True)  # (B, 1)
        weights = pixel_weights(codes, self.colors.weights(self.lambd))  # (P,)
        weights = weights * colored.expand(-1, ab[0, 0].numel()).flatten()
        loss = colorization(logits, codes, weights)
        self.colors.stage(codes.mean(0, keepdim=True), torch.full((1,), len(codes), device=codes.device))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        self._log_health(loss.detach(), logits.detach(), codes, weights, truth, batch_size=len(images))
        return loss

    def predict_colors(self, lightness: Tensor, dtype: torch.dtype) -> Tensor:
        """Logits ``(B, Q, h, w)`` of L ``(B, 1, H, W)``, which enters in ``dtype``, at the resolution of the layer."""
        (maps,) = feature_maps(self.backbone, [self.layer], scaled_lab(lightness).to(dtype))
        logits: Tensor = self.head(maps)
        return logits

    def prepare(self, images: Tensor) -> Tensor:
        """L as the backbone takes it, ``(B, 1, H, W)``."""
        return scaled_lab(self.lab(images)[:, :1]).to(images.dtype)

    def _log_health(
        self, loss: Tensor, logits: Tensor, codes: Tensor, weights: Tensor, truth: Tensor, *, batch_size: int
    ) -> None:
        predicted = annealed_mean(logits, temperature=self.temperature).norm(dim=1).mean()
        saturation = predicted / truth.norm(dim=1).mean().clamp(min=1e-6)
        chance = constant_guess(codes, weights).clamp(min=1e-6)  # 0 where all is gray
        self.log("train/saturation", saturation, batch_size=batch_size)
        self.log("train/loss_of_chance", loss / chance, batch_size=batch_size)
        self.log("train/colors_seen", self.colors.colors_seen, batch_size=batch_size)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The lightness of images ``(N, 3, H, W)`` in [0, 1] as gray images, and these as the network colors them."""
        lab = self.lab(images)
        logits = self.predict_colors(lab[:, :1], images.dtype)  # (N, Q, h, w)
        ab = as_maps(annealed_mean(pixels(logits), temperature=self.temperature), logits)  # (N, 2, h, w)
        shown, output = gray_and_colored(lab, ab)
        return shown.to(images.dtype), output.to(images.dtype)

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The lightness of images ``(N, 3, H, W)`` in [0, 1], and the bins of every fourth pixel's color."""
        gray, _ = gray_and_colored(rgb_to_lab(images), torch.zeros_like(images[:, 1:]))
        columns = ((gray, "find the colors"), (binned(images), "the colors to find"))
        return [Shown(shown, [words] * len(images)) for shown, words in columns]
