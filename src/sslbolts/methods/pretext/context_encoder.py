"""Context encoder: images with a hole, and its pixels to predict."""

from typing import Any, Literal, Unpack, get_args

import torch
from torch import Tensor
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import below_one, one_of, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.adversarial import adversarial
from sslbolts.losses.inpainting import context_encoder
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.pixels import error_of_mean, refuse_normalized
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.context_encoder import HoleDecoder, HoleDiscriminator
from sslbolts.networks.frozen import frozen_call
from sslbolts.optim import OptimizerCallable, parameter_groups
from sslbolts.transforms.holes import CANDIDATES, center, center_hole, noise_cells, overlap_weights, random_regions

__all__ = ["ContextEncoder"]

Masks = Literal["center", "regions"]
"""A square in the center; or regions of random shape, the same for a whole batch."""

_FILL = (117.0, 104.0, 123.0)  # red, green, blue of hidden pixels, of 255


class ContextEncoder(PretextModule):
    """Context encoder: what a hole in an image showed is predicted from what is around it.

    The encoder sees the image with the hole filled in one color, the decoder gives the hole's pixels, and a
    discriminator, which sees holes alone, tells predictions from images. Along its border the hole overlaps with what
    is seen: there the squared error counts ten times. Images come in [0, 1], and the networks see them in [-1, 1].

    All networks learn at once, from one forward pass: one optimizer has the parameters of all, and what the prediction
    learns from the discriminator goes through a copy of it that is not trained. The official code trains the
    discriminator first, and then the others by the discriminator that it has become. Clipping by the norm of all
    gradients ties them together.

    Args:
        masks: ``"center"``, or ``"regions"``: a fifth to three tenths of the image in regions of random shape, and the
            whole image predicted.
        output_size: side of what is predicted, pixels, 4 doubled some times: the hole, or with ``"regions"`` the image.
        overlap: width of the border of the hole that is seen. With ``"regions"`` any overlap lets the squared error of
            all that is seen count ten times, as in the official code.
        adversarial_weight: of the discriminator in the objective, in [0, 1); 0 leaves the squared error alone, and no
            discriminator is made. With one, encoder and decoder learn at ten times the learning rate.
        decoder_width: channels of the last layers of the decoder, and of the first of the discriminator.
        backbone: ``"sslbolts/context_encoder"``, with ``backbone_kwargs`` as
            :class:`~sslbolts.networks.context_encoder.ContextEncoderNet` takes them, or any other.
        optimizer, lr_scaling, warmup_epochs, final_lr, network: see :class:`PretextModule`; the official code has no
            schedule, a ``final_lr`` of 1.

    Raises:
        UsageError: for a value out of its range; when training starts, for images that are normalized, or too small for
            the hole.

    Source: Pathak et al., Context Encoders: Feature Learning by Inpainting, CVPR 2016, arXiv:1604.07379; values of the
    official code.

    Example:
        >>> small = {"image_size": 32, "width": 8, "bottleneck_dim": 64}
        >>> method = ContextEncoder(output_size=16, overlap=1, decoder_width=8, backbone_kwargs=small)
        >>> shown, output = method.reconstruct(torch.rand(2, 3, 32, 32))
        >>> int((shown[0, 0] != output[0, 0]).sum())  # the hole without its border
        196
    """

    indicators = (
        Indicator(
            metric="train/error_of_mean",
            above=0.98,
            meaning="holes are predicted no better than by the mean color of the image",
            fixes=("more epochs", "another learning rate", "a smaller adversarial_weight"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/context_encoder",
        *,
        masks: Masks = "center",
        output_size: int = 64,
        overlap: int = 4,
        adversarial_weight: float = 0.001,
        decoder_width: int = 64,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=2e-4, betas=(0.5, 0.999)),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 1.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        one_of(get_args(Masks), masks=masks)
        whole(output_size=output_size, decoder_width=decoder_width)
        whole(0, overlap=overlap)
        below_one(adversarial_weight=adversarial_weight)
        if 2 * overlap >= output_size:
            raise UsageError(f"overlap={overlap} leaves nothing of a hole of output_size={output_size} pixels.")
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.masks = masks
        self.output_size = output_size
        self.overlap = overlap
        self.adversarial_weight = adversarial_weight
        in_chans = network.get("in_chans", 3)
        self.decoder = HoleDecoder(self.num_features, output_size, out_chans=in_chans, width=decoder_width)
        self.discriminator = None
        if adversarial_weight:
            self.discriminator = HoleDiscriminator(output_size, in_chans=in_chans, width=decoder_width)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = self.prepare(batch.views[0])
        hidden = self.draw_mask(images, self.generator(batch_idx, device=images.device))  # (H, W)
        predictions = self.decoder(self.backbone(fill(images, hidden)))  # (B, C, h, w)
        targets = center(images, self.output_size)  # (B, C, h, w)
        logits = None if self.discriminator is None else frozen_call(self.discriminator, predictions)  # (B,)
        loss = context_encoder(
            predictions,
            targets,
            logits,
            weights=self.error_weights(hidden),
            adversarial_weight=self.adversarial_weight,
        )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        error = error_of_mean(predictions, targets, center(hidden, self.output_size))
        self.log("train/error_of_mean", error, batch_size=len(images))
        if self.discriminator is None:
            return loss
        real, fake = self.discriminator(targets), self.discriminator(predictions.detach())  # (B,) each
        discriminator_loss = 2 * adversarial(real, fake)  # the sum of both halves
        self.log("train/discriminator_loss", discriminator_loss, batch_size=len(images))
        return loss + discriminator_loss

    def prepare(self, images: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        return 2 * images - 1

    def draw_mask(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """``(H, W)``, True where images ``(B, C, H, W)`` are hidden: the same on all ranks."""
        return _mask(self.masks, images, self.output_size - 2 * self.overlap, generator)

    def error_weights(self, hidden: Tensor) -> Tensor | None:
        """Weights ``(h, w)`` of the squared errors of predicted pixels: ten where they overlap with what is seen."""
        if not self.overlap:
            return None
        if self.masks == "regions":
            return 10.0 - 9.0 * hidden.float()
        return overlap_weights(self.output_size, self.overlap, 10.0, hidden.device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """With a discriminator, encoder and decoder at ten times the learning rate."""
        if self.discriminator is None:
            return super().parameter_groups()
        groups = parameter_groups(self.backbone, self.decoder, decay_vectors=self.decay_vectors)
        others = parameter_groups(self.discriminator, decay_vectors=self.decay_vectors)
        return [*({**group, "lr_scale": 10.0} for group in groups), *others]

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` in [0, 1] with the hole, and with the hole as predicted."""
        generator = torch.Generator(images.device).manual_seed(int(torch.randint(2**31, ())))
        hidden = self.draw_mask(images, generator)
        shown = fill(self.prepare(images), hidden)
        output = self.prepare(images).clone()
        center(output, self.output_size).copy_(self.decoder(self.backbone(shown)))
        return torch.where(hidden, (shown + 1) / 2, images), torch.where(hidden, (output + 1) / 2, images)

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """A column with a hole in the center, half as wide as the image, and one with random regions."""
        columns = []
        for masks in get_args(Masks):
            hidden = _mask(masks, images, images.shape[-1] // 2, generator)
            columns.append(Shown((fill(2 * images - 1, hidden) + 1) / 2, ["the hidden pixels"] * len(images)))
        return columns

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            refuse_normalized(self)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        height, width = batch.views[0].shape[2:]
        side = self.output_size
        if self.masks == "regions" and (height, width) != (side, side):
            raise UsageError(
                f'with masks="regions" whole images are predicted, and they have {height}x{width} pixels: give '
                f"output_size={height}, or the DataModule image_size={side}."
            )
        if self.masks == "center" and min(height, width) <= side:
            raise UsageError(
                f"the hole has output_size={side} pixels, and the images have {height}x{width}, so nothing is around "
                f"it: give a smaller output_size (the paper's is half the images'), or the DataModule "
                f"image_size={2 * side}."
            )


def fill(images: Tensor, hidden: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` in [-1, 1] with one color where ``hidden`` ``(H, W)`` is True; a gray one but for RGB."""
    color = _FILL if images.shape[1] == 3 else (sum(_FILL) / 3,) * images.shape[1]
    filled = [images[:, channel].masked_fill(hidden, value / 127.5 - 1) for channel, value in enumerate(color)]
    return torch.stack(filled, 1)


def _mask(masks: str, images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A hole of some side in the center, or random regions."""
    height, width = images.shape[-2:]
    if masks == "center":
        return center_hole(height, width, side, images.device)
    device, cells = images.device, noise_cells()
    noise = torch.rand(CANDIDATES, cells, cells, generator=generator, device=device)
    return random_regions(noise, torch.rand(CANDIDATES, 2, generator=generator, device=device), height)
