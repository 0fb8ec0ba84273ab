"""SplitBrain: split-brain autoencoders, unsupervised learning by cross-channel prediction."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import whole
from sslbolts.errors import UsageError
from sslbolts.health import loss_of_chance
from sslbolts.losses.colorization import split_brain
from sslbolts.methods.base import LRScaling
from sslbolts.methods.pretext.base import PretextArguments, Shown
from sslbolts.methods.pretext.lab import LabModule, as_maps, gray_and_colored, pixels, pixels_at, scaled_lab
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.split_brain import SplitNetwork
from sslbolts.networks.taps import find_layer, last_stages, layer_outputs, map_widths, maps_of
from sslbolts.optim import OptimizerCallable
from sslbolts.transforms.lab import NUM_COLORS, annealed_mean, lab_to_rgb, nearest_bins, rgb_to_lab

__all__ = ["SplitBrain"]

_NUM_LIGHTNESSES = 100  # bins of one unit


class SplitBrain(LabModule):
    """SplitBrain: one network predicts colors from lightness, another one lightness from colors; together they see all.

    Both predictions are classifications of pixels, into 313 bins of ab and 100 of L, at low resolution. The two
    networks share nothing, batch norm included: neither may see what the other one has. The features of an image are
    those of both, side by side.

    Images must be in [0, 1], as the views "split_brain" make them. The features of :meth:`forward` are those of such
    images; the exported backbone itself takes Lab, ``(L - 50, a, b) / 50``, which :meth:`prepare` makes.

    Args:
        backbone: a name, of which there are two networks, with one and with two channels; or a
            :class:`~sslbolts.networks.split_brain.SplitNetwork`. The paper's is AlexNet of half the width,
            ``backbone_kwargs={"width": 48, "groups": 1}``, as it is without any.
        layer: of each half, whose maps its head reads; None is the last stage. Layers behind it are not trained.
        target_size: side of the grid of pixels that are predicted; maps are resized to it.
        bias_lr_scale: learning rate of biases and norms, which are not decayed, over that of the weights.
        optimizer: that of colorization; the paper's own is not known.
        lr_scaling: none, as in colorization.
        milestones: as in colorization, 240, 300 and 400 of 450 thousand steps. None for a cosine.
        warmup_epochs, final_lr, network: see :class:`~sslbolts.methods.pretext.base.PretextModule`; a ``feature_layer``
            of both halves together is ``"blocks.3"``.

    Raises:
        UsageError: for a value out of its range, or a backbone that is not split; when a run starts, for images that
            are not RGB in [0, 1].

    Source: Zhang et al., Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction, CVPR 2017,
    arXiv:1611.09842.

    Example:
        >>> method = SplitBrain("resnet18", stem="cifar", target_size=8)
        >>> method(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1024])
    """

    reads_inner_layer = True
    indicators = (
        loss_of_chance("predicting each bin as often as it occurs in the batch", "more epochs", of="features"),
    )

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/dilated_alexnet",
        *,
        layer: str | None = None,
        target_size: int = 12,
        bias_lr_scale: float = 2.0,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=3e-5, weight_decay=1e-3),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (8 / 15, 2 / 3, 8 / 9),
        **network: Unpack[PretextArguments],
    ) -> None:
        whole(target_size=target_size)
        if isinstance(backbone, str):
            backbone = f"split/{backbone.removeprefix('split/')}"
        if backbone == "split/sslbolts/dilated_alexnet":
            network["backbone_kwargs"] = {"width": 48, "groups": 1} | (network.get("backbone_kwargs") or {})
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
        if not isinstance(self.backbone, SplitNetwork):
            raise UsageError(
                f"SplitBrain trains two networks, and was given one {type(self.backbone).__name__}: give "
                "SplitNetwork(lightness, color) of sslbolts.networks.split_brain, or the backbone's name."
            )
        halves = self.backbone.halves
        self.layers = [layer or last_stages(half, 1)[0] for half in halves]
        self.target_size = target_size
        (of_lightness,), (of_color,) = map(map_widths, halves, [[name] for name in self.layers], (1, 2))
        self.color_head = nn.Conv2d(of_lightness, NUM_COLORS, 1)
        self.lightness_head = nn.Conv2d(of_color, _NUM_LIGHTNESSES, 1)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        images = batch.views[0]
        lab = self.lab(images)  # (B, 3, H, W)
        size = (self.target_size, self.target_size)
        truth = pixels(F.interpolate(lab, size=size, mode="nearest"))  # (P, 3)
        lightness, colors = truth[:, 0].long().clamp(0, _NUM_LIGHTNESSES - 1), nearest_bins(truth[:, 1:])  # (P,) each
        color_maps, lightness_maps = self.predict(scaled_lab(lab).to(images.dtype))
        color_logits, lightness_logits = pixels_at(size, color_maps), pixels_at(size, lightness_maps)  # (P, 313), 100
        loss = split_brain(color_logits, colors, lightness_logits, lightness)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        guess = _entropy(colors, NUM_COLORS) + _entropy(lightness, _NUM_LIGHTNESSES)
        self.log("train/loss_of_chance", loss.detach() / guess.clamp(min=1e-6), batch_size=len(images))
        for name, logits, bins in (("color", color_logits, colors), ("lightness", lightness_logits, lightness)):
            accuracy = (logits.detach().argmax(1) == bins).float().mean()
            self.log(f"train/{name}_accuracy", accuracy, batch_size=len(images))
        return loss

    def predict(self, lab: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of ab ``(B, 313, h, w)`` from L, and of L ``(B, 100, h', w')`` from ab, of Lab of :meth:`prepare`."""
        network: Any = self.backbone
        layers = [find_layer(half, name) for half, name in zip(network.halves, self.layers)]
        calls = layer_outputs(network, layers, lab)
        of_lightness, of_color = map(maps_of, [call[-1] for call in calls], self.layers, layers, network.halves)
        return self.color_head(of_lightness), self.lightness_head(of_color)

    def prepare(self, images: Tensor) -> Tensor:
        """Lab as the backbone takes it, ``(B, 3, H, W)``."""
        return scaled_lab(self.lab(images)).to(images.dtype)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The lightness of images ``(N, 3, H, W)`` in [0, 1] as gray images, and these as their half colors them."""
        lab = self.lab(images)
        logits, _ = self.predict(scaled_lab(lab).to(images.dtype))
        shown, output = gray_and_colored(lab, as_maps(annealed_mean(pixels(logits)), logits))
        return shown.to(images.dtype), output.to(images.dtype)

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """The sight of both networks of images ``(N, 3, H, W)`` in [0, 1]: their lightness; their colors alone."""
        lab = rgb_to_lab(images)
        gray, _ = gray_and_colored(lab, torch.zeros_like(lab[:, 1:]))
        equally_light = lab_to_rgb(torch.cat([torch.full_like(lab[:, :1], 60), lab[:, 1:]], 1))
        columns = ((gray, "find the colors"), (equally_light, "find the lightness"))
        return [Shown(shown, [words] * len(images)) for shown, words in columns]


def _entropy(bins: Tensor, number: int) -> Tensor:
    """Of the bins ``(P,)`` of a batch: the cross-entropy of the best prediction that is one for all."""
    shares = torch.zeros(number, device=bins.device).index_add_(0, bins, torch.ones(len(bins), device=bins.device))
    entropy: Tensor = torch.special.entr(shares / len(bins)).sum()
    return entropy
