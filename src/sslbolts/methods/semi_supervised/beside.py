"""The method whose loss stands beside that of the labels, out of its name, its description, or a module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sslbolts.checks import import_named_in_file
from sslbolts.errors import UsageError, argument_names, no_such_argument
from sslbolts.methods.base import NetworkArguments, SSLModule
from sslbolts.methods.pretext.base import PretextModule
from sslbolts.methods.registry import get_method
from sslbolts.methods.semi_supervised.rotation import JointRotation
from sslbolts.networks.backbones import BackboneLike
from sslbolts.training.labeled_evaluation import LabeledEvaluation
from sslbolts.training.module import TrainingModule

__all__ = ["ROTATION", "described", "features_of_images", "logging_as", "method_beside"]

ROTATION = f"{JointRotation.__module__}.{JointRotation.__qualname__}"

_OF_THE_RUN = ("optimizer", "lr_scaling", "warmup_epochs", "final_lr", "milestones", "compile_backbone")
_OF_THE_NETWORK = ("backbone", *(name for name in NetworkArguments.__annotations__ if name != "compile_backbone"))


def method_beside(
    method: str | Mapping[str, Any] | SSLModule, backbone: BackboneLike | None, network: Mapping[str, Any]
) -> SSLModule:
    """The method, on the given network.

    Args:
        method: a name of the registry; ``class_path`` and ``init_args``; or a module, which has a network already.
        backbone: the network; None is a ResNet-50, or the module's.
        network: further arguments of a network that is given by name.

    Raises:
        UsageError: for no method, one that learns from labels itself, or arguments that are not the method's to have.
    """
    if isinstance(method, SSLModule):
        held = {"backbone": None, **method.hparams}  # a checkpoint tells them again
        given = [name for name, value in {"backbone": backbone, **network}.items() if value not in (None, held[name])]
        if given:
            raise UsageError(f"method= is a module, with a network of its own: leave out {', '.join(given)}.")
        made = method
    else:
        cls, arguments = _class_and_arguments(method)
        made = cls(**{"backbone": "resnet50" if backbone is None else backbone, **network, **arguments})
    name = type(made).__name__
    if isinstance(made, LabeledEvaluation):
        raise UsageError(f"{name} learns from labels itself: train it alone, or give method= one that needs none.")
    if getattr(made, "feature_layer", None) is not None:
        raise UsageError(f"the class head is on the features of the whole backbone: give {name} no feature_layer.")
    return made


def _class_and_arguments(method: str | Mapping[str, Any]) -> tuple[type[SSLModule], dict[str, Any]]:
    given: dict[str, Any] = {"class_path": method} if isinstance(method, str) else {**method}
    if not {"class_path"} <= given.keys() <= {"class_path", "init_args"}:
        raise UsageError(
            f"method={given}: it is the name of a method, e.g. SimCLR, or a mapping of class_path and init_args."
        )
    path = str(given["class_path"])
    cls = import_named_in_file(path, SSLModule) if "." in path else get_method(path)
    arguments = dict(given.get("init_args") or {})
    for name in arguments:
        if name in (*_OF_THE_RUN, *_OF_THE_NETWORK):
            raise UsageError(
                f"method= has {name} among its init_args: give it to SemiSupervised, which trains both losses at once."
            )
    for name in arguments:
        if name not in argument_names(cls):
            raise UsageError(f"method: {no_such_argument(cls, name)}")
    return cls, arguments


def described(method: SSLModule) -> dict[str, Any]:
    """Arguments of :class:`~sslbolts.SemiSupervised` that make the method again, as a checkpoint holds them.

    Without ``backbone`` where that was given as a module.

    Example:
        >>> from sslbolts import SimCLR
        >>> again = described(SimCLR("resnet10t", temperature=0.5))
        >>> again["backbone"], again["method"]["init_args"]["temperature"]
        ('resnet10t', 0.5)
    """
    held = dict(method.hparams)
    network = {name: held[name] for name in _OF_THE_NETWORK if name in held}
    own = {name: value for name, value in held.items() if name not in (*_OF_THE_RUN, *_OF_THE_NETWORK)}
    names = argument_names(type(method))
    own = {name: value for name, value in own.items() if name in names and name != "feature_layer"}
    path = f"{type(method).__module__}.{type(method).__qualname__}"
    return {**network, "method": {"class_path": path, "init_args": own}}


@contextmanager
def logging_as(method: TrainingModule, outer: TrainingModule) -> Iterator[None]:
    """What the method logs is logged by the module that it is part of; its loss as ``train/unlabeled_loss``."""

    def log(name: str, value: Any, prog_bar: bool = False, *args: Any, **options: Any) -> None:
        if name == "train/loss":
            name, prog_bar = "train/unlabeled_loss", False
        outer.log(name, value, prog_bar, *args, **options)

    method.log = log  # type: ignore[method-assign]
    try:
        yield
    finally:
        del method.log


def features_of_images(method: SSLModule, outputs: list[Any], views: int, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``(R, D)`` that a backbone gave while a method's loss was computed, and the label of each.

    Args:
        method: where it makes several rows of an image itself, as pretext methods do, they follow each other as views
            do; others must have one row for each image, or for each image of each view.
        outputs: what the backbone gave, call after call.
        views: of each image.
        targets: ``(B,)`` labels of the images.

    Raises:
        UsageError: where it is not known which row is of which image.
    """
    count = len(targets)
    usable = bool(outputs) and all(isinstance(rows, Tensor) and rows.ndim == 2 for rows in outputs)
    features = torch.cat(outputs) if usable else torch.empty(0)
    each = len(features) // count
    if not usable or len(features) != each * count or not (isinstance(method, PretextModule) or each in (1, views)):
        raise UsageError(
            f"concatenate=True: which features belong to which of {count} images is not known of "
            f"{type(method).__name__}, whose backbone gave {len(features) if usable else 'no'} rows of them: leave it "
            "out, for a pass of the labeled images alone."
        )
    return features, targets.repeat(each)
