"""Denoising autoencoder: corrupted images, and the clean ones to predict."""

from typing import Any, Unpack, get_args

import torch
from torch import Tensor
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, fraction, one_of, whole
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.denoising import DenoisingKind, denoising
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.pixels import error_of_mean, refuse_normalized
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.deconvolution import MapDecoder, map_form
from sslbolts.networks.taps import feature_maps, last_stages
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import normal, uniform
from sslbolts.transforms.corruption import Corrupted, Corruption, corrupt

__all__ = ["DenoisingAutoencoder"]


class DenoisingAutoencoder(PretextModule):
    """Denoising autoencoder: an encoder sees corrupted images, and a decoder of its last map predicts the clean ones.

    Copying its input is no solution, so the map must know what images are like. A small decoder of transposed
    convolutions stands on the map. The paper stacks fully connected layers, one trained after the other, with SGD; here
    the whole network is trained at once, with Adam.

    Args:
        corruption: ``"masking"`` sets entries to 0, ``"salt_and_pepper"`` half of them to 1, ``"gaussian"`` adds
            normal numbers to all.
        amount: share of the entries that are changed, 0.1, 0.25 or 0.5 in the paper; the standard deviation of
            ``"gaussian"``.
        loss: ``"bce"``, cross-entropy summed over an image, or ``"mse"``, the mean squared error.
        corrupted_weight: of the loss where an entry was changed, the paper's alpha.
        intact_weight: of the loss elsewhere, its beta.
        layer: name of the backbone's layer whose map is decoded; None is the last stage of a ResNet, or of what timm
            calls stages.
        decoder_dim: channels of the decoder's first layer; each further one has half, but not below 16.
        backbone: a network with maps, which its strides make a power of two smaller than the image.
        optimizer, lr_scaling, warmup_epochs, final_lr, network: see :class:`PretextModule`.

    Raises:
        UsageError: for a value out of its range, weights with ``"gaussian"``, or a backbone without maps; when training
            starts, for images that are normalized, or that its strides do not divide.

    Source: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, ICML 2008; Stacked
    Denoising Autoencoders, JMLR 11, 2010.

    Example:
        >>> method = DenoisingAutoencoder("resnet18", stem="cifar", corruption="salt_and_pepper")
        >>> shown, output = method.reconstruct(torch.rand(2, 3, 32, 32))
        >>> output.shape
        torch.Size([2, 3, 32, 32])
    """

    starts_at_identity = True
    reads_inner_layer = True
    indicators = (
        Indicator(
            metric="train/error_of_mean",
            above=0.9,
            meaning="the clean images are predicted no better than by their mean color",
            fixes=("more epochs", "a larger learning rate", "less corruption", "an earlier layer"),
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        corruption: Corruption = "masking",
        amount: float = 0.25,
        loss: DenoisingKind = "bce",
        corrupted_weight: float = 1.0,
        intact_weight: float = 1.0,
        layer: str | None = None,
        decoder_dim: int = 256,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=1e-3),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[PretextArguments],
    ) -> None:
        one_of(get_args(Corruption), corruption=corruption)
        one_of(get_args(DenoisingKind), loss=loss)
        at_least(0, amount=amount, corrupted_weight=corrupted_weight, intact_weight=intact_weight)
        if corruption != "gaussian":
            fraction(amount=amount)
        elif corrupted_weight != intact_weight:
            raise UsageError(
                f'corruption="gaussian" changes every entry, so corrupted_weight={corrupted_weight} and '
                f"intact_weight={intact_weight} cannot differ: leave them out."
            )
        if not corrupted_weight and not intact_weight:
            raise UsageError("corrupted_weight=0 and intact_weight=0 leave no loss: give one of them a value.")
        whole(decoder_dim=decoder_dim)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        self.corruption: Corruption = corruption
        self.amount = amount
        self.loss: DenoisingKind = loss
        self.corrupted_weight, self.intact_weight = corrupted_weight, intact_weight
        self.layer = layer or last_stages(self.backbone, 1)[0]
        in_chans = network.get("in_chans", 3)
        width, self.stride = map_form(self.backbone, self.layer, in_chans)
        self.decoder = MapDecoder(width, in_chans, self.stride, dim=decoder_dim)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        clean = batch.views[0]
        generator = self.generator(batch_idx, device=clean.device)
        corrupted, where = self.corrupt(clean, generator)  # (B, C, H, W) both
        outputs = self.decode(corrupted)  # (B, C, H, W)
        weights = None
        if self.corrupted_weight != 1 or self.intact_weight != 1:
            weights = where * self.corrupted_weight + ~where * self.intact_weight
        loss = denoising(outputs, clean, kind=self.loss, weights=weights)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(clean))
        self.log("train/error_of_mean", error_of_mean(self.pixels(outputs), clean), batch_size=len(clean))
        return loss

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Corrupted:
        """Images with this rank's share of the noise that the generator draws."""
        draw = normal if self.corruption == "gaussian" else uniform
        return corrupt(images, draw(*images.shape, generator=generator), kind=self.corruption, amount=self.amount)

    def decode(self, images: Tensor) -> Tensor:
        """What the network makes of corrupted images ``(B, C, H, W)``: logits with ``"bce"``, else pixels."""
        (maps,) = feature_maps(self.backbone, [self.layer], images)
        outputs: Tensor = self.decoder(maps)
        return outputs

    def pixels(self, outputs: Tensor) -> Tensor:
        """Images in [0, 1] of the network's outputs."""
        return outputs.sigmoid() if self.loss == "bce" else outputs

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` corrupted, and as the network repairs them."""
        noise = torch.randn_like(images) if self.corruption == "gaussian" else torch.rand_like(images)
        corrupted, _ = corrupt(images, noise, kind=self.corruption, amount=self.amount)
        return corrupted.clamp(0, 1), self.pixels(self.decode(corrupted)).clamp(0, 1)

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """One column for each kind of corruption."""
        texts: dict[Corruption, str] = {
            "masking": "a quarter is 0",
            "gaussian": "noise of 0.25",
            "salt_and_pepper": "a quarter is 0 or 1",
        }
        columns = []
        for kind, text in texts.items():
            draw = torch.randn if kind == "gaussian" else torch.rand
            noise = draw(images.shape, generator=generator, device=images.device)
            corrupted, _ = corrupt(images, noise, kind=kind, amount=0.25)
            columns.append(Shown(corrupted.clamp(0, 1), [text] * len(images)))
        return columns

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            refuse_normalized(self)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        height, width = batch.views[0].shape[2:]
        if height % self.stride or width % self.stride:
            raise UsageError(
                f'the map of "{self.layer}" is {self.stride} times smaller than the image, and the images have '
                f"{height}x{width} pixels: give the DataModule an image_size that is a multiple of {self.stride}."
            )
