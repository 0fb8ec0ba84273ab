"""BiGAN: a generator and an encoder that learn to be each other's inverse from a discriminator of pairs."""

import math
from collections.abc import Mapping
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, positive, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.adversarial import adversarial
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.pixels import error_of_mean, refuse_normalized
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.bigan import BiGANGenerator, JointDiscriminator, squash
from sslbolts.networks.frozen import frozen_call
from sslbolts.optim import OptimizerCallable, hold_and_decay
from sslbolts.training.facts import steps_per_epoch
from sslbolts.training.shared_draws import uniform

__all__ = ["BiGAN"]


class BiGAN(PretextModule):
    """BiGAN: a generator makes images of latents, an encoder latents of images, and a discriminator tells the pairs.

    It sees `(x, E(x))` and `(G(z), z)`; that they look alike to the best discriminator needs `E` to be the inverse of
    `G`. All three learn at once, from one forward pass, as in the official code: one optimizer has the parameters of
    all, and what `E` and `G` learn from the discriminator goes through a copy of it that is not trained. Clipping by
    the norm of all gradients ties them together. Images come in [0, 1], and the networks see them in [-1, 1].

    The features are the encoder's, before the layer that gives the latents. At evaluation batch norms have running
    statistics, where the official code averages over a thousand batches. Validation measures how far `G(E(x))` is from
    `x` (``val/error_of_mean``, 1 is that of the mean color) and `E(G(z))` from `z` (``val/latent_error``, 1 is that of
    zeros).

    Args:
        latent_dim: how many numbers an image is made of, uniform in [-1, 1]: 200 for ImageNet, 50 for MNIST.
        generator_size: side of the images that generator and discriminator have, pixels, 4 doubled twice or
            more; the encoder may see larger ones, 112 beside 64 in the paper.
        width: channels of the discriminator's first layer.
        decay_from: part of the run with a constant learning rate; then it falls in every epoch by the same factor, to
            ``final_lr`` in the last.
        backbone: ``"sslbolts/bigan"``, with ``backbone_kwargs`` as :class:`~sslbolts.networks.bigan.BiGANEncoder` takes
            them, or any other.
        optimizer: Adam, with decay of all parameters but the scales of batch norms.
        lr_scaling, warmup_epochs, network: see :class:`PretextModule`.
        final_lr: learning rate of the last epoch, as a fraction of the first.

    Raises:
        UsageError: for a value out of its range; when training starts, for images that are normalized.

    Source: Donahue et al., Adversarial Feature Learning, ICLR 2017, arXiv:1605.09782; values of the official code.

    Example:
        >>> method = BiGAN("resnet18", stem="cifar", latent_dim=16, generator_size=32, width=8)
        >>> images, again = method.reconstruct(torch.rand(2, 3, 32, 32))
        >>> again.shape
        torch.Size([2, 3, 32, 32])
    """

    starts_at_identity = False  # where nothing of the image comes through at first, there is nothing to learn from
    indicators = (
        Indicator(
            metric="train/discriminator_loss",
            below=0.02,
            meaning="the discriminator is sure of every pair, and teaches encoder and generator next to nothing",
            fixes=("a smaller learning rate", "a larger batch", "a narrower discriminator (width)"),
        ),
        Indicator(
            metric="train/discriminator_accuracy",
            below=0.51,
            meaning="the discriminator cannot tell the pairs (its loss stays at ln 2), and has nothing to teach",
            fixes=("a larger learning rate", "a wider discriminator (width)", "more epochs"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/bigan",
        *,
        latent_dim: int = 200,
        generator_size: int = 64,
        width: int = 64,
        decay_from: float = 0.5,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=2e-4, betas=(0.5, 0.999), weight_decay=2.5e-5),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.01,
        **network: Unpack[PretextArguments],
    ) -> None:
        whole(latent_dim=latent_dim, generator_size=generator_size, width=width)
        fraction(decay_from=decay_from)
        positive(final_lr=final_lr)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.latent_dim = latent_dim
        self.generator_size = generator_size
        self.decay_from = decay_from
        in_chans = network.get("in_chans", 3)
        self.projector = nn.Linear(self.num_features, latent_dim)
        nn.init.normal_(self.projector.weight, std=0.02)
        nn.init.zeros_(self.projector.bias)
        self.decoder = BiGANGenerator(latent_dim, generator_size, out_chans=in_chans, width=width)
        self.discriminator = JointDiscriminator(latent_dim, generator_size, in_chans=in_chans, width=width)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = self.prepare(batch.views[0])
        z = self.draw_latents(images, self.generator(batch_idx, device=images.device))  # (B, Z)
        codes, made = self.encode(images), self.decoder(z)  # E(x) (B, Z), G(z) (B, C, h, w)
        x = self.for_generator(images)  # (B, C, h, w)

        real, fake = self.discriminator(x, codes.detach()), self.discriminator(made.detach(), z)  # (B,) each
        discriminator_loss = adversarial(real, fake)
        seen_real = frozen_call(self.discriminator, x, codes)
        seen_fake = frozen_call(self.discriminator, made, z)
        loss = adversarial(seen_fake, seen_real)  # labels swapped

        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        self.log("train/discriminator_loss", discriminator_loss, batch_size=len(images))
        right = (torch.cat([real, -fake]).detach().float().sign().mean() + 1) / 2  # a tie is half right
        self.log("train/discriminator_accuracy", right, batch_size=len(images))
        return loss + discriminator_loss

    def prepare(self, images: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        return 2 * images - 1

    def draw_latents(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Latents ``(B, Z)``, uniform in [-1, 1], for the images of this rank."""
        return 2 * uniform(len(images), self.latent_dim, generator=generator).to(images.dtype) - 1

    def encode(self, images: Tensor) -> Tensor:
        """`E`: latents ``(B, Z)`` of images ``(B, C, H, W)`` in [-1, 1]."""
        return squash(self.projector(self.backbone(images)))

    def for_generator(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in the size of the generator's."""
        return _resized(images, self.generator_size)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything is decayed but the scales of batch norms."""
        scales = {id(norm.weight) for norm in self.modules() if isinstance(norm, _BatchNorm)}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in trained if id(parameter) not in scales]},
            {"params": [parameter for parameter in trained if id(parameter) in scales], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def lr_factor(self, step: int, *, total: int, warmup: int) -> float:
        """Constant, then falling from epoch to epoch.

        From step to step in a run of less than two epochs, or whose epochs have no known length.
        """
        if step < warmup:
            return step / warmup
        try:
            length = steps_per_epoch(self.trainer)
        except UsageError:  # a loader without a length
            length = 1.0
        length = length if 2 * length <= total else 1.0
        epochs = math.ceil(total / length)
        hold = min(round(self.decay_from * epochs), epochs - 1)
        return hold_and_decay(int(step / length), hold=hold, length=epochs - hold, final=self.final_lr)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Tensor]:
        """Features of an evaluation batch; how far images and latents are from what comes back is logged."""
        images = self.prepare(batch[0])
        z = self.draw_latents(images, self.generator(batch_idx, device=images.device))
        again = self.decoder(self.encode(images))
        latent_error = 3 * (self.encode(_resized(self.decoder(z), images.shape[-1])) - z).float().square().mean()
        image_error = error_of_mean(again, self.for_generator(images))
        settings = {"batch_size": len(images), "sync_dist": True}
        self.log("val/error_of_mean", image_error, **settings)  # type: ignore[arg-type]
        self.log("val/latent_error", latent_error, **settings)  # type: ignore[arg-type]
        return super().validation_step(batch, batch_idx, dataloader_idx)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` in [0, 1], and what the generator makes of the encoder's latents."""
        again = _resized(self.decoder(self.encode(self.prepare(images))), images.shape[-1])
        return images, (again.to(images.dtype) + 1) / 2

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """Real images, which stand beside generated ones once there is a generator."""
        return [Shown(images, ["real, or generated?"] * len(images))]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            refuse_normalized(self)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        height, width = batch.views[0].shape[2:]
        if height != width or height < self.generator_size:
            raise UsageError(
                f"the generator makes images of {self.generator_size}x{self.generator_size} pixels, and these have "
                f"{height}x{width}: give a smaller generator_size, or the DataModule image_size={self.generator_size}."
            )


def _resized(images: Tensor, side: int) -> Tensor:
    """Square images in another size, antialiased; in their own they stay as they are."""
    if images.shape[-1] == side:
        return images
    wide = images if images.dtype == torch.float64 else images.float()
    return F.interpolate(wide, (side, side), mode="bilinear", antialias=True).to(images.dtype)
