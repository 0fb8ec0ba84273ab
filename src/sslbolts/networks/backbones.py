"""Backbones: any timm or torchvision name, or any module, as a network from images to pooled features."""

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypedDict, get_args

from torch import nn

from sslbolts.errors import UsageError, did_you_mean, first_line
from sslbolts.networks.widths import feature_width, first_convolution

__all__ = [
    "BackboneLike",
    "MissingWeights",
    "NetworkArguments",
    "Stem",
    "create_backbone",
    "feature_width",
    "first_convolution",
    "is_untrained",
    "warn_classifier",
    "warn_small_images",
]

_OWN = {
    "sslbolts/amdim": ("amdim", "AMDIMEncoder", "AMDIM's"),
    "sslbolts/deepcontext": ("patch_towers", "DeepContext", "relative position's"),
    "sslbolts/cfn": ("patch_towers", "ContextFreeNetwork", "Jigsaw's"),
    "sslbolts/dilated_alexnet": ("dilated_alexnet", "DilatedAlexNet", "colorization's"),
    "sslbolts/context_encoder": ("context_encoder", "ContextEncoderNet", "the context encoder's"),
    "sslbolts/bigan": ("bigan", "BiGANEncoder", "BiGAN's"),
}
"""Networks that are of one method: module, class, and whose it is."""

_CLASSIFIERS = ("fc", "classifier", "head", "heads", "last_linear")

BackboneLike = str | nn.Module
"""``"resnet50"``, ``"timm/resnet50"``, ``"torchvision/resnet50"``, or a module ``(B, C, H, W) -> (B, D)``."""

Stem = Literal["imagenet", "cifar", "cifar_pad2", "cifar_no_relu", "no_pool"]
"""The first layers of a ResNet: 7x7 stride 2 with max-pooling; 3x3 stride 1 without; and forms of other libraries."""

Positions = Literal["timm", "dino"]
"""The resampling of position embeddings for images of another size, timm's or that of DINO's official code."""


class MissingWeights(UsageError):
    """The trained weights of a network were asked for, and are not there, or cannot be fetched."""


class NetworkArguments(TypedDict, total=False):
    """Arguments of the backbone, which every method passes on to :class:`~sslbolts.SSLModule`, where the defaults are.

    Attributes:
        stem: ``"cifar"`` for a ResNet on images of 64 pixels and less; see :func:`create_backbone`.
        in_chans: channels of the images.
        zero_init_residual: start the residual branches of a ResNet given by name at zero, so that each block is the
            identity at first, or at one; None is the method's own choice.
        backbone_kwargs: further arguments of the named network, and ``positions``; see :func:`create_backbone`.
        compile_backbone: run the backbone through ``torch.compile``.
    """

    stem: Stem
    in_chans: int
    zero_init_residual: bool | None
    backbone_kwargs: dict[str, Any] | None
    compile_backbone: bool


def create_backbone(
    backbone: BackboneLike,
    *,
    stem: Stem = "imagenet",
    in_chans: int = 3,
    zero_init_residual: bool | None = None,
    positions: Positions = "timm",
    **kwargs: Any,
) -> nn.Module:
    """A network that turns images ``(B, in_chans, H, W)`` into pooled features ``(B, D)``, without classifier.

    Args:
        backbone: a timm name, or ``"timm/NAME"``; a torchvision name that timm lacks, or ``"torchvision/NAME"``;
            a method's own network: ``"sslbolts/amdim"``, ``"sslbolts/deepcontext"``, ``"sslbolts/cfn"``,
            ``"sslbolts/dilated_alexnet"``, ``"sslbolts/context_encoder"`` or ``"sslbolts/bigan"``, see
            :class:`~sslbolts.networks.amdim.AMDIMEncoder`, :mod:`sslbolts.networks.patch_towers`,
            :class:`~sslbolts.networks.dilated_alexnet.DilatedAlexNet`,
            :class:`~sslbolts.networks.context_encoder.ContextEncoderNet` and
            :class:`~sslbolts.networks.bigan.BiGANEncoder`; ``"split/NAME"``, two networks of that name in a
            :class:`sslbolts.networks.split_brain.SplitNetwork`; or a module that returns pooled features, which is
            taken as it is. Names start from random weights unless ``pretrained=True`` (timm) or ``weights="DEFAULT"``
            (torchvision) is among ``kwargs``. Vision transformers of timm are made to take images of several sizes.
        stem: ``"cifar"`` replaces the first convolution of a ResNet by one of 3x3, stride 1, padding 1, and removes its
            max-pooling: for images of 64 pixels and less. Weights of other libraries may need ``"cifar_pad2"``, the
            same with padding 2 (solo-learn, SwAV of lightning-bolts: maps of 34x34), ``"cifar_no_relu"``, the same
            without the first ReLU (lightly's ResNets as ``nn.Sequential`` of their children), or ``"no_pool"``, the
            7x7 convolution without max-pooling (lightning-bolts on STL-10).
        in_chans: channels of the images.
        zero_init_residual: start the last norm's scale of each residual block of a ResNet at 0, or at 1; None as the
            library has it: 0 in timm, 1 in torchvision. Other networks start as they do, pretrained ones with their
            weights.
        positions: how position embeddings of a vision transformer are resampled for images of another size than its
            own: "dino" as in DINO's official code, bicubic without antialiasing
            (:func:`sslbolts.networks.positions.resized_positions`); "timm" with it. Of timm's ``VisionTransformer``;
            transformers of its other classes stay as they are.
        kwargs: passed to ``timm.create_model`` or ``torchvision.models.get_model``.

    Raises:
        UsageError: for an unknown name or stem, arguments that the network does not take, or a module with
            arguments that could only be ignored.

    Example:
        >>> network = create_backbone("resnet18", stem="cifar")
        >>> feature_width(network), sum(p.numel() for p in network.parameters())
        (512, 11168832)
    """
    if stem not in get_args(Stem):
        raise UsageError(
            f'stem="{stem}": it must be one of {", ".join(get_args(Stem))}.{did_you_mean(stem, get_args(Stem))}'
        )
    if positions not in get_args(Positions):
        raise UsageError(f'positions="{positions}": it must be one of {", ".join(get_args(Positions))}.')
    if isinstance(backbone, nn.Module):
        if stem != "imagenet" or in_chans != 3 or zero_init_residual is not None or positions != "timm" or kwargs:
            raise UsageError(
                "stem, in_chans, zero_init_residual and backbone_kwargs describe a backbone given by name; a module is "
                "taken as it is: build it with them, or pass a name."
            )
        if hasattr(backbone, "reset_classifier") and getattr(backbone, "num_classes", 0) > 0:
            raise UsageError(
                f"this {type(backbone).__name__} of timm still has its classifier, and returns {backbone.num_classes} "
                "logits instead of features: make it with num_classes=0."
            )
        warn_classifier(backbone)
        return backbone
    if backbone in _OWN:
        return _create_own(backbone, in_chans, stem, kwargs)
    if backbone.startswith("split/"):
        return _create_split(backbone.removeprefix("split/"), in_chans, stem, zero_init_residual, kwargs)
    library, _, name = (
        backbone.rpartition("/") if backbone.startswith(("timm/", "torchvision/")) else ("", "", backbone)
    )
    with _tensors_alone():
        network = _create(library, name, in_chans, zero_init_residual, kwargs)
    if positions == "dino":
        _resample_positions(network, backbone)
    return network if stem == "imagenet" else _with_stem(network, stem, backbone, in_chans)


def is_untrained(backbone: BackboneLike, backbone_kwargs: Mapping[str, Any] | None) -> bool:
    """True for a network that is given by name and starts from random weights.

    Example:
        >>> is_untrained("resnet18", None), is_untrained("resnet18", {"pretrained": True})
        (True, False)
    """
    given = backbone_kwargs or {}
    return isinstance(backbone, str) and not any(map(given.get, ("pretrained", "checkpoint_path", "weights")))


def warn_small_images(backbone: nn.Module, image_size: int) -> None:
    """Warn where a 7x7 convolution of stride 2 is to see images of 64 pixels or fewer."""
    first = first_convolution(backbone)
    if first is not None and first.kernel_size == (7, 7) and first.stride == (2, 2) and image_size <= 64:
        warnings.warn(
            f"the backbone's first layer is a 7x7 convolution of stride 2, but the images have {image_size} pixels: "
            "most of their detail is lost before the first block. Pass stem='cifar'.",
            stacklevel=2,
        )


def warn_classifier(network: nn.Module) -> None:
    """Warn where a network seems to end in its classifier, so that logits would be taken for features.

    Known by the names that torchvision and its likes give it.

    Example:
        >>> import warnings
        >>> network = nn.Sequential(nn.Flatten())
        >>> network.fc = nn.Linear(48, 1000)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warn_classifier(network)
        >>> "ends in fc, 48 -> 1000" in str(caught[0].message)
        True
    """
    for name in _CLASSIFIERS:
        part = getattr(network, name, None)
        if not isinstance(part, nn.Module):
            continue
        leaves = [leaf for leaf in part.modules() if not list(leaf.children()) and not isinstance(leaf, nn.Dropout)]
        squeezed = [leaf for leaf in leaves if isinstance(leaf, nn.Conv2d) and type(network).__name__ == "SqueezeNet"]
        last = [leaf for leaf in leaves[-1:] if isinstance(leaf, nn.Linear)] or squeezed[-1:]
        if last:
            outputs, inputs = last[0].weight.shape[:2]
            warnings.warn(
                f"this {type(network).__name__} ends in {name}, {inputs} -> {outputs}: if that is its classifier, "
                f"logits are taken for features. Set {name} to torch.nn.Identity(), or give the backbone by its name.",
                stacklevel=2,
            )


@contextmanager
def _tensors_alone() -> Iterator[None]:
    """Whatever file of weights timm and torchvision read, no code in it runs: not all of their versions see to it."""
    force = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(force)
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") is None:  # the user's word for every file
        os.environ[force] = "1"
    try:
        yield
    finally:
        os.environ.pop(force, None)
        if before is not None:
            os.environ[force] = before


def _create(library: str, name: str, in_chans: int, zero: bool | None, kwargs: dict[str, Any]) -> nn.Module:
    import timm
    import torchvision

    try:
        if library != "torchvision" and timm.is_model(name):
            return _create_timm(name, in_chans, zero, kwargs)
        if library != "timm" and name in torchvision.models.list_models(module=torchvision.models):
            return _create_torchvision(name, in_chans, zero, kwargs)
    except TypeError as error:  # an argument that the network's constructor does not know
        raise UsageError(f'backbone "{name}" does not take these backbone_kwargs: {error}.') from error
    except UsageError:
        raise
    except Exception as error:  # the hub's client has many kinds of them, and its releases differ
        if is_untrained(name, kwargs):
            raise
        raise MissingWeights(
            f'the trained weights of "{name}" cannot be had ({first_line(error)}): fetch them where there '
            "is a network, or leave pretrained, weights and checkpoint_path out."
        ) from error
    names = [] if library == "torchvision" else timm.list_models()
    names += [] if library == "timm" else torchvision.models.list_models(module=torchvision.models)
    raise UsageError(
        f'there is no backbone "{name}" in {library or "timm or torchvision"}.{did_you_mean(name, names)} '
        'timm.list_models("*resnet*") lists names by pattern.'
    )


def _create_own(backbone: str, in_chans: int, stem: str, kwargs: dict[str, Any]) -> nn.Module:
    module, name, whose = _OWN[backbone]
    make = getattr(importlib.import_module(f"sslbolts.networks.{module}"), name)
    if stem != "imagenet":
        raise UsageError(
            f'stem="{stem}" is for ResNets; {whose} network has a form for small images: image_size=32 among the '
            "backbone_kwargs."
        )
    if not is_untrained(backbone, kwargs):
        raise MissingWeights(
            f"{whose} network has no published weights: leave pretrained, weights and checkpoint_path out."
        )
    try:
        network: nn.Module = make(in_chans=in_chans, **kwargs)
    except TypeError as error:
        raise UsageError(f"{whose} network does not take these backbone_kwargs: {error}.") from error
    return network


def _create_split(name: str, in_chans: int, stem: Stem, zero: bool | None, kwargs: dict[str, Any]) -> nn.Module:
    from sslbolts.networks.split_brain import SplitNetwork

    if in_chans != 3:
        raise UsageError(f'in_chans={in_chans}: "split/{name}" takes the three channels of Lab; leave it out.')
    halves = (create_backbone(name, stem=stem, in_chans=n, zero_init_residual=zero, **kwargs) for n in (1, 2))
    return SplitNetwork(*halves)


def _with_residual_start(make: Callable[..., nn.Module], option: str, zero: bool | None, **kwargs: Any) -> nn.Module:
    """A network made with its library's option for the start of residual branches, if it has one."""
    if zero is not None and option not in kwargs:
        try:
            return make(**kwargs, **{option: zero})
        except TypeError as error:
            if option not in str(error):
                raise
    return make(**kwargs)


def _create_timm(name: str, in_chans: int, zero: bool | None, kwargs: dict[str, Any]) -> nn.Module:
    import timm

    make = partial(timm.create_model, name, num_classes=0, in_chans=in_chans)
    network = _with_residual_start(make, "zero_init_last", zero, **kwargs)
    if getattr(network, "dynamic_img_size", None) is False and "dynamic_img_size" not in kwargs:
        network = make(dynamic_img_size=True, **kwargs)
    return network


def _create_torchvision(name: str, in_chans: int, zero: bool | None, kwargs: dict[str, Any]) -> nn.Module:
    import torchvision

    make = partial(torchvision.models.get_model, name)
    network: nn.Module = _with_residual_start(make, "zero_init_residual", zero, **kwargs)
    linears = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise UsageError(
            f'torchvision\'s "{name}" has no linear classifier to remove: take the timm network of that name.'
        )
    parent = network.get_submodule(linears[-1].rpartition(".")[0])
    attribute = linears[-1].rpartition(".")[2]
    network.feature_width = parent.get_submodule(attribute).in_features
    setattr(parent, attribute, nn.Identity())
    if in_chans != 3 and (first := first_convolution(network)) is not None:
        path = next(path for path, module in network.named_modules() if module is first)
        _replace(network, path, _convolution_like(first, in_chans))
    return network


def _resample_positions(network: nn.Module, name: str) -> None:
    from sslbolts.networks.positions import resample_like_dino

    if not (resample_like_dino(network) or hasattr(network, "patch_embed")):
        raise UsageError(f'positions="dino" is for vision transformers of timm, and "{name}" is none: leave it out.')


def _convolution_like(layer: nn.Conv2d, in_chans: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_chans,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        bias=layer.bias is not None,
    )


def _replace(network: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, layer)


def _with_stem(network: nn.Module, stem: Stem, name: str, in_chans: int) -> nn.Module:
    first = getattr(network, "conv1", None)
    if first is None or not hasattr(network, "maxpool"):
        raise UsageError(
            f'stem="{stem}" replaces conv1 and maxpool of a ResNet, and "{name}" has none: pass a ResNet, or shape '
            "this network with backbone_kwargs (a ViT: img_size=32, patch_size=4)."
        )
    _replace(network, "maxpool", nn.Identity())
    if stem == "no_pool":
        return network
    width = [m for m in first.modules() if isinstance(m, nn.Conv2d)][-1].out_channels  # conv1, or timm's deep stem
    convolution = nn.Conv2d(in_chans, width, 3, stride=1, padding=2 if stem == "cifar_pad2" else 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    _replace(network, "conv1", convolution)
    if stem == "cifar_no_relu":
        _replace(network, "act1" if hasattr(network, "act1") else "relu", nn.Identity())  # timm, torchvision
    return network
