"""A frozen network from images to features, whatever it was saved as."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError
from sslbolts.evaluation.checkpoint import method_of_checkpoint
from sslbolts.export import read_backbone
from sslbolts.methods import SSLModule
from sslbolts.networks.backbones import create_backbone, feature_width, first_convolution
from sslbolts.networks.taps import Tap, find_layer, pooled

__all__ = ["Encoder", "choose_device", "load_encoder"]

_LIBRARIES = ("timm/", "torchvision/", "sslbolts/")
_HEADS = ("projector", "predictor")  # what a method runs after its backbone, in this order


@dataclass(frozen=True)
class Encoder:
    """A network whose features are evaluated.

    Attributes:
        network: normalized images ``(B, C, H, W)`` -> features ``(B, num_features)``, in eval mode.
        backbone: the bare network inside, for what needs its maps; what goes on training takes :meth:`trainable`.
        name: what results call it: the method's name or the network's.
        layer: where the features are taken: "backbone", "projector", or the name of a submodule.
        teacher: whether the weights are those of the method's teacher.
        num_features: width of the features.
        digest: of weights, form and layer: equal for equal features.
        source: where it comes from: a path, ``timm/NAME`` (with "(untrained)" where it is), or the class of a module.
        in_chans: channels of its images.
        mean: by which its images are normalized, per channel, in [0, 1]; None where it is not known.
        std: as ``mean``.
        image_size: side of the images it was trained or made for, pixels; None where it is not known.
        pretrained: of a named network, whether it has the library's weights; None for what has no name in a library.
        crop_pct: part of a resized image's shorter side that its evaluation cut out; None where it is not known.
        interpolation: of that resizing, "bicubic" or "bilinear"; None where it is not known.
    """

    network: nn.Module
    backbone: nn.Module
    name: str
    layer: str
    teacher: bool
    num_features: int
    digest: str
    source: str
    in_chans: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None
    pretrained: bool | None = None
    crop_pct: float | None = None
    interpolation: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        first = next(self.network.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def readout(self) -> str:
        """Which features these are, in words.

        Example:
            >>> load_encoder(nn.Flatten(), image_size=4).readout
            'backbone'
        """
        return f"{self.layer} of the teacher" if self.teacher else self.layer

    @property
    def description(self) -> str:
        """The network in words, for a result's settings; of untrained ones every draw is another.

        Example:
            >>> load_encoder("timm/resnet10t", pretrained=False, device="cpu").description.rpartition(" ")[0]
            'resnet10t, for images of 176 pixels, untrained, drawn as'
        """
        words = [self.name] + ([] if self.image_size is None else [f"for images of {self.image_size} pixels"])
        return ", ".join(words + ([f"untrained, drawn as {self.digest[:8]}"] if self.pretrained is False else []))

    def trainable(self) -> nn.Module:
        """A copy of the backbone to go on training: the encoder's own keeps the weights that ``digest`` is of.

        Example:
            >>> encoder = load_encoder(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), image_size=4, device="cpu")
            >>> copied = encoder.trainable()
            >>> copied is encoder.backbone, copied[1].weight.equal(encoder.backbone[1].weight)
            (False, True)
        """
        return copy.deepcopy(self.backbone)


def load_encoder(
    source: str | Path | nn.Module,
    *,
    layer: str = "backbone",
    teacher: bool = False,
    pretrained: bool = True,
    backbone: nn.Module | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    device: str | torch.device = "auto",
) -> Encoder:
    """The network of a checkpoint, a file of weights, a model library, or a module, ready to give features.

    Args:
        source: a Lightning checkpoint of a method; a file of :func:`sslbolts.export.export_backbone`; another library's
            checkpoint that :func:`sslbolts.export.load_backbone` reads; ``timm/NAME`` or ``torchvision/NAME``; or a
            module, of which a copy is taken: a method, or a network ``(B, C, H, W) -> (B, D)``.
        layer: "backbone": its pooled features; "projector": the embeddings; or the name of any submodule of the method
            or its backbone, whose maps and tokens are averaged.
        teacher: the teacher's weights in the student's place.
        pretrained: of a named network, the library's weights (which may be downloaded); else it is untrained.
        backbone: the network to fill, where the checkpoint's method was given a module and not a name.
        in_chans: channels of the images; None is what the network's first convolution takes, or 3.
        image_size: side of a blank image by which the width of features is found; None is what the network says, or 64.
        device: "auto" is an accelerator where there is one.

    Raises:
        UsageError: if there is no such file, network or layer, or there is no teacher.

    Example:
        >>> encoder = load_encoder("timm/resnet18", pretrained=False, layer="layer3", device="cpu")
        >>> encoder.num_features, tuple(encoder.network(torch.zeros(2, 3, 64, 64)).shape)
        (256, (2, 256))
    """
    root, wants = _root(source, teacher=teacher, pretrained=pretrained, backbone=backbone, in_chans=in_chans)
    bare: Any = getattr(root, "backbone", root)
    network = _Features(root, layer).eval().to(choose_device(device))
    channels = in_chans or _channels(root)
    named = not isinstance(source, nn.Module) and str(source).startswith(_LIBRARIES)
    return Encoder(
        network=network,
        backbone=bare,
        name=_name(source, root),
        layer=layer,
        teacher=teacher,
        num_features=_width(network, bare, channels, image_size or wants.get("image_size")),
        digest=_digest(network),
        source=type(source).__name__
        if isinstance(source, nn.Module)
        else f"{source} (untrained)"
        if named and not pretrained
        else str(source),
        in_chans=channels,
        pretrained=pretrained if named else None,
        **{name: wants.get(name) for name in ("mean", "std", "image_size", "crop_pct", "interpolation")},
    )


def _name(source: str | Path | nn.Module, root: nn.Module) -> str:
    """The class of a method or module, a library's own name with its tag, or a file's without its ending."""
    if isinstance(root, SSLModule) or isinstance(source, nn.Module):
        return type(root).__name__
    library = next((prefix for prefix in _LIBRARIES if str(source).startswith(prefix)), None)
    return Path(source).stem if library is None else str(source).removeprefix(library)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of a name; "auto" is an accelerator where there is one.

    Raises:
        UsageError: for no device of this machine.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        kinds = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        return torch.device(next((kind for kind, there in kinds if there), "cpu"))
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f'device "{device}" is not there: {reason} Give "auto", "cpu", "cuda" or "mps".') from error
    return chosen


class _Features(nn.Module):
    """Images to the features of one layer.

    Args:
        root: a method, any module with a ``backbone``, or a network.
        layer: "backbone", or a submodule of ``root`` or of its backbone.
    """

    def __init__(self, root: nn.Module, layer: str) -> None:
        super().__init__()
        self.root = root
        self.layer = layer
        if layer != "backbone":
            find_layer(root, layer, advice='Or "backbone", for its pooled features.')

    def forward(self, x: Tensor) -> Tensor:
        if self.layer == "backbone":
            return pooled(self._backbone_features(x), self.layer)
        with Tap(find_layer(self.root, self.layer)) as tap:
            features = self._backbone_features(x)
            for name in _HEADS:  # a method's forward ends with the backbone
                if not tap.outputs and isinstance(head := getattr(self.root, name, None), nn.Module):
                    features = head(pooled(features, name))
        if not tap.outputs:
            raise UsageError(
                f'neither the backbone nor the projector of {type(self.root).__name__} runs "{self.layer}".'
            )
        return pooled(tap.outputs[0], self.layer)

    def _backbone_features(self, x: Tensor) -> Any:
        # A method's forward also does what stands before its backbone, such as DeepCluster's Sobel filter.
        network = self.root if isinstance(self.root, SSLModule) else getattr(self.root, "backbone", self.root)
        return network(x)


def _root(
    source: str | Path | nn.Module,
    *,
    teacher: bool,
    pretrained: bool,
    backbone: nn.Module | None,
    in_chans: int | None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The module to take features from, and the preprocessing that it wants where this is known."""
    wants: dict[str, Any] = {}
    if isinstance(source, nn.Module):
        root = copy.deepcopy(source)
    elif str(source).startswith(_LIBRARIES):
        _refuse(teacher, f'"{source}" is one network, without a teacher: leave teacher out.')
        return _named(str(source), pretrained, in_chans or 3)
    else:
        method, wants = method_of_checkpoint(source, backbone)
        if method is None:
            loaded = read_backbone(source, teacher=teacher, backbone=backbone)
            known = loaded.preprocessing.plain if loaded.preprocessing else {}
            return loaded.network(), {name: value for name, value in known.items() if value is not None} or wants
        root = method
    if teacher:
        pairs: Sequence[tuple[nn.Module, nn.Module]] = getattr(root, "ema_pairs", list)()
        _refuse(not pairs, f"{type(root).__name__} has no teacher: leave teacher out.")
        for student, kept in pairs:
            student.load_state_dict(kept.state_dict())
    return root, wants


def _named(source: str, pretrained: bool, in_chans: int) -> tuple[nn.Module, dict[str, Any]]:
    weights: dict[str, Any] = {"pretrained": True} if source.startswith("timm/") else {"weights": "DEFAULT"}
    try:
        network = create_backbone(source, in_chans=in_chans, **(weights if pretrained else {}))
    except UsageError:
        raise
    except Exception as error:  # the hub's client has many kinds of them, and its releases differ
        if not pretrained:
            raise
        reason = str(error).strip().partition("\n")[0][:200]
        raise UsageError(
            f'the weights of "{source}" cannot be had ({type(error).__name__}: {reason}): get them where there is a '
            "network, or evaluate the untrained network with pretrained=False (--untrained)."
        ) from error
    return network, _wants(network, source)


def _wants(network: nn.Module, source: str) -> dict[str, Any]:
    config = getattr(network, "pretrained_cfg", None)
    if config:
        size: int | None = config.get("input_size", (3, None, None))[-1]
        mean, std = config.get("mean"), config.get("std")
        cut = {"crop_pct": config.get("crop_pct"), "interpolation": config.get("interpolation")}
    elif source.startswith("torchvision/"):  # ImageNet's, for all of its classifiers
        mean, std, size = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), None
        cut = {}
    else:
        return {}
    first = first_convolution(network)
    if mean is None or std is None or (first is not None and first.in_channels != len(mean)):
        return {"image_size": size, **cut}
    return {"mean": tuple(mean), "std": tuple(std), "image_size": size, **cut}


def _channels(root: nn.Module) -> int:
    stated = getattr(root, "hparams", {}).get("in_chans")
    first = first_convolution(root)
    return int(stated) if stated is not None else first.in_channels if first is not None else 3


def _width(network: _Features, bare: nn.Module, channels: int, size: int | None) -> int:
    if network.layer == "backbone" and not size and isinstance(network.root, SSLModule):
        return feature_width(bare)
    side = size or 64
    first = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, channels, side, side, device=first.device, dtype=first.dtype)
    with torch.no_grad():
        try:
            return int(network(image).shape[1])
        except (RuntimeError, AssertionError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{type(network.root).__name__} does not take a blank image of {channels} x {side} x {side} "
                f"({reason}): give image_size= (and in_chans=) as it was trained on."
            ) from error


def _digest(network: _Features) -> str:
    """Of weights, form and layer. Hidden states of training count, which at worst computes features once more."""
    found = hashlib.sha256(f"{network.layer}\n{network.root}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise UsageError(message)
