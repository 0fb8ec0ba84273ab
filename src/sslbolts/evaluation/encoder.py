"""A frozen network from images to features, whatever it was saved as."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.hub import is_address
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checks import one_of
from sslbolts.errors import UsageError, first_line
from sslbolts.evaluation.checkpoint import method_of_checkpoint
from sslbolts.evaluation.library import LIBRARIES, library_network
from sslbolts.export import FORMATS, read_backbone
from sslbolts.methods import METHODS, SSLModule
from sslbolts.networks.backbones import feature_width, first_convolution, warn_classifier
from sslbolts.networks.taps import Tap, find_layer, pooled
from sslbolts.networks.widths import blank_images
from sslbolts.transforms import recipe
from sslbolts.transforms.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

__all__ = ["Encoder", "choose_device", "digest_of", "load_encoder"]

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
        preprocessing: how its images are made, as far as it is known; their number of channels always is.
        pretrained: of a named network, whether it has the library's weights; None for what has no name in a library.
        initialization: how its weights were drawn anew, in words, if they were; see
            :func:`~sslbolts.evaluation.initialization.initialized`.
    """

    network: nn.Module
    backbone: nn.Module
    name: str
    layer: str
    teacher: bool
    num_features: int
    digest: str
    source: str
    preprocessing: Preprocessing
    pretrained: bool | None = None
    initialization: str = ""

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        first = next(self.network.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def feature_name(self) -> str:
        """Which features these are, in words.

        Example:
            >>> load_encoder(nn.Flatten(), image_size=4).feature_name
            'backbone'
        """
        if self.initialization:
            return f"{self.layer}, {self.initialization}"
        return f"{self.layer} of the teacher" if self.teacher else self.layer

    @property
    def description(self) -> str:
        """The network in words, for a result's settings; of untrained ones every draw is another.

        Example:
            >>> load_encoder("timm/resnet10t", pretrained=False, device="cpu").description.rpartition(" ")[0]
            'resnet10t, for images of 176 pixels, untrained, drawn as'
        """
        size = self.preprocessing.image_size
        words = [self.name] + ([] if size is None else [f"for images of {size} pixels"])
        drawn = self.initialization or ("untrained" if self.pretrained is False else "")
        return ", ".join(words + ([f"{drawn}, drawn as {self.digest[:8]}"] if drawn else []))

    def normalization(self, how: str = "auto") -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, str]:
        """Mean and deviation per channel by which images from no DataModule are normalized, and the same in words.

        Args:
            how: "auto" is as in training where this is known; none for a method whose views have none (SimCLR); and
                else ImageNet's. "imagenet" and "none" say it.

        Returns:
            None and None for images in [0, 1].

        Raises:
            UsageError: for another word, or where nothing is known of images that have not three channels.

        Example:
            >>> load_encoder(nn.Flatten(), image_size=4, device="cpu").normalization("none")
            (None, None, 'in [0, 1], not normalized')
        """
        one_of(("auto", "imagenet", "none"), normalize=how)
        if how == "auto" and self.preprocessing.mean is not None:
            return self.preprocessing.mean, self.preprocessing.std, "normalized as in training"
        if how == "none":
            return None, None, "in [0, 1], not normalized"
        views = METHODS[self.name].views if self.name in METHODS else ""
        if how == "auto" and views and not recipe(views, 224).normalize:
            return None, None, f"in [0, 1], not normalized, as {self.name}'s views"
        if self.preprocessing.in_chans != 3:
            raise UsageError(
                f"{self.name} takes images of {self.preprocessing.in_chans} channels, and how they were normalized is "
                'not known: give normalize="none" (--normalize none).'
            )
        unknown = "" if how == "imagenet" else " (how it was trained is not known)"
        return IMAGENET_MEAN, IMAGENET_STD, f"normalized by ImageNet's mean and deviation{unknown}"

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
            checkpoint or an address of the Hub, hf://OWNER/NAME, that :func:`sslbolts.export.load_backbone` reads;
            ``timm/NAME`` or ``torchvision/NAME``; or a
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
    named = "" if isinstance(source, nn.Module) else str(source)
    library = next(filter(named.startswith, LIBRARIES), None)
    root, known = _root(source, library, teacher=teacher, pretrained=pretrained, backbone=backbone, in_chans=in_chans)
    line = METHODS.get(type(root).__name__)
    if line is not None and line.learns_from != "images":
        raise UsageError(
            f"{type(root).__name__} learns from {line.learns_from}, and what is measured here is features of images: "
            "sslbolts predict writes its own."
        )
    known = replace(known, in_chans=in_chans or _channels(root))
    bare: Any = getattr(root, "backbone", root)
    network = _Features(root, layer).eval().to(choose_device(device))
    if isinstance(source, nn.Module):
        name = origin = type(source).__name__
    else:
        name = type(root).__name__ if isinstance(root, SSLModule) else Path(source).stem
        name = name if library is None else str(source).removeprefix(library)  # with the tag of its weights
        origin = str(source) if library is None or pretrained else f"{source} (untrained)"
    return Encoder(
        network=network,
        backbone=bare,
        name=name,
        layer=layer,
        teacher=teacher,
        num_features=_width(network, bare, known.in_chans, image_size or known.image_size),
        digest=digest_of(network, layer),
        source=origin,
        preprocessing=known,
        pretrained=None if library is None else pretrained,
    )


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
        raise UsageError(
            f'device "{device}" is not there: {first_line(error)} Give "auto", "cpu", "cuda" or "mps".'
        ) from error
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
            return self._pooled(self._backbone_features(x))
        with Tap(find_layer(self.root, self.layer)) as tap:
            features = self._backbone_features(x)
            for name in _HEADS:  # a method's forward ends with the backbone
                if not tap.outputs and isinstance(head := getattr(self.root, name, None), nn.Module):
                    features = head(self._pooled(features))
        if not tap.outputs:
            raise UsageError(
                f'neither the backbone nor the projector of {type(self.root).__name__} runs "{self.layer}".'
            )
        return pooled(tap.outputs[0], self.layer, layer=tap.layer, network=self.root)

    def _pooled(self, features: Any) -> Tensor:
        return pooled(features, "backbone", layer=getattr(self.root, "backbone", self.root), network=self.root)

    def _backbone_features(self, x: Tensor) -> Any:
        # A method's forward also does what stands before its backbone, such as DeepCluster's Sobel filter.
        network = self.root if isinstance(self.root, SSLModule) else getattr(self.root, "backbone", self.root)
        return network(x)


def _root(
    source: str | Path | nn.Module,
    library: str | None,
    *,
    teacher: bool,
    pretrained: bool,
    backbone: nn.Module | None,
    in_chans: int | None,
) -> tuple[nn.Module, Preprocessing]:
    """The module to take features from, and the preprocessing that it wants where this is known."""
    root: nn.Module | None
    if library is not None:
        if teacher:
            raise UsageError(f'"{source}" is one network, without a teacher: leave teacher out.')
        return library_network(str(source), pretrained=pretrained, in_chans=in_chans or 3)
    if isinstance(source, nn.Module):
        root, known = copy.deepcopy(source), None
        if not isinstance(source, SSLModule):
            warn_classifier(getattr(source, "backbone", source))
    elif is_address(source) or Path(source).suffix in FORMATS.values():  # a backbone alone
        root, known = None, None
    else:
        checkpoint = Checkpoint.read(source)
        root, known = method_of_checkpoint(checkpoint, backbone), checkpoint.preprocessing
    if root is None:
        assert not isinstance(source, nn.Module)
        loaded = read_backbone(source, teacher=teacher, backbone=backbone)
        return loaded.network(), loaded.preprocessing or known or Preprocessing()
    if teacher:
        pairs: Sequence[tuple[nn.Module, nn.Module]] = getattr(root, "ema_pairs", list)()
        if not pairs:
            raise UsageError(f"{type(root).__name__} has no teacher: leave teacher out.")
        for student, kept in pairs:
            student.load_state_dict(kept.state_dict())
    return root, known or Preprocessing()


def _channels(root: nn.Module) -> int:
    taken: int | None = root.image_channels() if isinstance(root, SSLModule) else None
    if taken is not None:
        return taken
    stated = getattr(root, "hparams", {}).get("in_chans")
    first = first_convolution(root)
    return int(stated) if stated is not None else first.in_channels if first is not None else 3


def _width(network: _Features, bare: nn.Module, channels: int, size: int | None) -> int:
    if network.layer == "backbone" and not size and isinstance(network.root, SSLModule):
        return feature_width(bare)
    side = size or 64
    with torch.no_grad():
        try:
            return int(network(blank_images(network, channels, side)).shape[1])
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"{type(network.root).__name__} does not take a blank image of {channels} x {side} x {side} "
                f"({first_line(error)}): give image_size= (and in_chans=) as it was trained on."
            ) from error


def digest_of(network: nn.Module, layer: str) -> str:
    """Of weights, form and layer. Hidden states of training count, which at worst computes features once more."""
    root = network.root if isinstance(network, _Features) else network
    found = hashlib.sha256(f"{layer}\n{root}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
