"""Classifiers with layers of their own on the frozen maps of a layer."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sslbolts.checks import as_plain, one_of, whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.layers.maps import as_map
from sslbolts.evaluation.probes.heads import Heads
from sslbolts.evaluation.probes.linear import LinearProbe
from sslbolts.evaluation.probes.settings import ProbeSettings
from sslbolts.methods.pretext.base import PretextModule
from sslbolts.networks.nin import nin_block
from sslbolts.networks.taps import block_names, find_layer, layer_outputs
from sslbolts.networks.tiny_batches import running_statistics

__all__ = ["Classifier", "FrozenMap", "MapHeads", "MapProbe"]

Classifier = Literal["conv", "mlp"]


class FrozenMap(nn.Module):
    """Images to the map of a layer, ``(B, C, H, W)``.

    The layer is the encoder's ``layer``; of "backbone" it is the ``feature_layer`` of a pretext method that has one, or
    else the network's last block.

    Args:
        encoder: the network.
        size: side of the images, pixels.

    Attributes:
        layer: its name.
        shape: ``(C, H, W)`` of the map of an image.

    Raises:
        UsageError: for a layer that is not there, or has no map.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> from sslbolts.networks.nin import NIN
        >>> FrozenMap(load_encoder(NIN(), layer="block2", image_size=32, device="cpu"), 32).shape
        (192, 8, 8)
    """

    def __init__(self, encoder: Encoder, size: int) -> None:
        super().__init__()
        self.network = encoder.network
        inner = next((m.feature_layer for m in self.network.modules() if isinstance(m, PretextModule)), None)
        known = encoder.layer if encoder.layer != "backbone" else inner
        self.layer = known or block_names(encoder.backbone)[-1]
        # In a list, so that it is not a second submodule.
        self._tapped = [find_layer(getattr(self.network, "root", self.network), self.layer)]
        self._extra_tokens = int(getattr(encoder.backbone, "num_prefix_tokens", -1))
        channels = encoder.preprocessing.in_chans or 3
        with torch.no_grad():
            blank = torch.zeros(1, channels, size, size, device=encoder.device)
            self.shape = tuple(self.eval()(blank).shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)``."""
        (calls,) = layer_outputs(self.network, self._tapped, images)
        out = calls[-1] if calls else None
        return as_map(out, self.layer, self._tapped[0], self.network, extra_tokens=self._extra_tokens)


class MapHeads(Heads):
    """Classifiers on maps ``(N, C, H, W)``: a block of convolutions, or two hidden layers on the flattened map.

    "conv" is a convolution of 3 x 3 pixels and two of 1 x 1, each with batch norm and ReLU, a global mean and a linear
    classifier; "mlp" is two times linear, batch norm and ReLU, and a linear classifier. First weights are normal of the
    variance 2 / (k * k * outputs), as in RotNet's code; only the last layer has a bias, which is 0.

    Args:
        shape: ``(C, H, W)`` of the maps.
        num_classes: number of classes.
        count: how many classifiers.
        classifier: "conv" or "mlp".
        hidden_dim: channels of the convolutions, or width of the hidden layers.

    Example:
        >>> sum(p.numel() for p in MapHeads((192, 8, 8), 10, classifier="conv", hidden_dim=192).parameters())
        408586
    """

    def __init__(
        self, shape: Sequence[int], num_classes: int, *, count: int = 1, classifier: Classifier, hidden_dim: int
    ) -> None:
        super().__init__()
        whole(2, num_classes=num_classes)
        whole(hidden_dim=hidden_dim)
        self.count = count
        self.heads = nn.ModuleList(_head(tuple(shape), num_classes, classifier, hidden_dim) for _ in range(count))
        for later in self.heads[1:]:  # all heads start alike
            later.load_state_dict(self.heads[0].state_dict())

    def forward(self, maps: Tensor) -> Tensor:
        """Logits ``(N, count, num_classes)``; one image alone is normalized by the statistics of those before it."""
        with running_statistics(self) if len(maps) == 1 else nullcontext():
            return torch.stack([head(maps) for head in self.heads], 1)

    def head_parameters(self, head: int) -> list[nn.Parameter]:
        return list(self.heads[head].parameters())


class MapProbe(LinearProbe):
    """Classifiers with layers of their own on a layer's maps; otherwise as :class:`~sslbolts.evaluation.LinearProbe`.

    See :class:`~sslbolts.evaluation.probes.on_maps.MapHeads` for what they are made of.

    Args:
        network: a module that gives maps ``(B, C, H, W)``, such as
            :class:`~sslbolts.evaluation.probes.on_maps.FrozenMap`.
        num_classes: number of classes, at least 2.
        shape: ``(C, H, W)`` of the maps.
        classifier: "conv" or "mlp".
        hidden_dim: channels of the convolutions, or width of the hidden layers; None is RotNet's: 192, and 20 per class
            (at most 2,048).
        settings: a name of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, or settings of your own; None
            is "rotnet_conv" or "rotnet_mlp".
        **changes: values in place of theirs.

    Raises:
        UsageError: for unknown settings or values; for a ``norm`` of the features, which here are maps.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728, and its official code.

    Example:
        >>> probe = MapProbe(nn.Identity(), 10, shape=(192, 8, 8), classifier="mlp")
        >>> tuple(probe(torch.zeros(2, 192, 8, 8)).shape), probe.settings.milestones
        ((2, 1, 10), (0.2, 0.4, 0.45))
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        shape: Sequence[int],
        classifier: Classifier = "conv",
        hidden_dim: int | None = None,
        settings: str | ProbeSettings | None = None,
        **changes: Any,
    ) -> None:
        one_of(get_args(Classifier), classifier=classifier)
        if len(shape) != 3:
            raise UsageError(f"shape={tuple(shape)}: it is (channels, height, width) of a map.")
        whole(**dict(zip(("channels", "height", "width"), shape)))
        self.shape, self.classifier = tuple(shape), classifier
        self.width = hidden_dim if hidden_dim is not None else 192 if classifier == "conv" else 20 * num_classes
        if hidden_dim is None:
            self.width = min(self.width, 2048)
        super().__init__(network, num_classes, settings=settings or f"rotnet_{classifier}", **changes)
        made_of = {"shape": self.shape, "classifier": classifier, "hidden_dim": self.width}
        self.save_hyperparameters(as_plain(made_of))

    def make_heads(self, network: nn.Module, num_classes: int, width: int | None) -> Heads:
        if self.settings.norm != "none":
            raise UsageError(f'norm="{self.settings.norm}" is for features, and these are maps: leave it out.')
        count = len(self.settings.lrs)
        return MapHeads(self.shape, num_classes, count=count, classifier=self.classifier, hidden_dim=self.width)

    def features_in_words(self, encoder: Encoder) -> str:
        layer = self.network.layer if isinstance(self.network, FrozenMap) else "the network"
        of_whom = encoder.feature_name.removeprefix(encoder.layer)
        return f"maps of {layer}{of_whom}, {' x '.join(map(str, self.shape))}"

    def classifier_in_words(self) -> dict[str, str]:
        layers = {
            "conv": f"{self.width} channels of 3 x 3, 1 x 1 and 1 x 1 pixels, batch norm and ReLU each; global mean",
            "mlp": f"two hidden layers of {self.width}, each with batch norm and ReLU",
        }
        return {"classifier": f"{layers[self.classifier]}; linear"}


def _head(shape: tuple[int, ...], num_classes: int, classifier: Classifier, hidden: int) -> nn.Sequential:
    parts: list[nn.Module]
    if classifier == "conv":
        parts = [nin_block(shape[0], (hidden,) * 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    else:
        parts = [nn.Flatten()]
        for before in (math.prod(shape), hidden):
            parts += [nn.Linear(before, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    head = nn.Sequential(*parts, nn.Linear(hidden, num_classes))
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            outputs = layer.weight[0, 0].numel() * len(layer.weight)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / outputs))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head
