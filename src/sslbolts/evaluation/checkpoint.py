"""A method out of its own checkpoint, with all its heads, without a Trainer."""

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn

from sslbolts.checkpoints.safe_arguments import arguments_of_shape
from sslbolts.errors import argument_names
from sslbolts.methods import SSLModule

__all__ = ["method_of_checkpoint"]


def method_of_checkpoint(
    path: str | Path, backbone: nn.Module | None = None
) -> tuple[SSLModule | None, dict[str, Any]]:
    """The method of a checkpoint with its weights, and how its images were normalized.

    Args:
        path: a file.
        backbone: the network to fill, where the method was given a module.

    Returns:
        The method, None where the file is no checkpoint of a method that can be made again from it alone; and ``mean``,
        ``std`` and ``image_size`` of the DataModule, where the checkpoint says them.

    Raises:
        UsageError: if its weights are not those of its method.
    """
    checkpoint = _read(Path(path))
    cls = _class(checkpoint.get("sslbolts_class"))
    if cls is None:
        return None, {}
    hparams = {k: v for k, v in checkpoint.get("hyper_parameters", {}).items() if k in argument_names(cls)}
    if backbone is not None:
        hparams = {k: v for k, v in hparams.items() if k not in ("stem", "in_chans", "backbone_kwargs")}
        hparams["backbone"] = backbone
    elif "backbone" not in hparams:
        return None, _normalization(checkpoint)
    method: SSLModule = cls(**_without_other_files(hparams))
    if backbone is None:
        method.on_load_checkpoint(checkpoint)  # sizes memories, and refuses other weights in few words
    method.load_state_dict(_state(checkpoint))
    return method, _normalization(checkpoint)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors" or not path.is_file():
        return {}
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, BadZipFile, EOFError, RuntimeError):
        return {}  # load_backbone says what is wrong with it
    return checkpoint if isinstance(checkpoint, dict) and "state_dict" in checkpoint else {}


def _class(name: Any) -> Any:
    """The class of a dotted name, if it is there and a method: nothing else is ever called."""
    module, _, attribute = str(name or "").rpartition(".")
    if not module:
        return None
    try:
        cls = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return cls if isinstance(cls, type) and issubclass(cls, SSLModule) else None


def _without_other_files(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Where training of a network began is of no interest now, and the file may be a stranger's."""
    found = dict(hparams)
    if isinstance(found.get("teacher"), str):  # checkpoints say a teacher's form, so this is the name of one, no file
        found["teacher"] = {"backbone": found["teacher"]}
    for network in (found, found.get("teacher")):
        if isinstance(network, dict) and network.get("backbone_kwargs"):
            network["backbone_kwargs"] = arguments_of_shape(network["backbone_kwargs"])
    return found


def _state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in checkpoint["state_dict"].items()}


def _normalization(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What the DataModule's state says; a network trained on images in [0, 1] wants mean 0 and deviation 1."""
    for state in checkpoint.values():
        if isinstance(state, Mapping) and {"seed", "mean", "std", "in_chans", "image_size"} <= state.keys():
            neutral = ((0.0,) * state["in_chans"], (1.0,) * state["in_chans"])
            mean, std = neutral if state["mean"] is None else (state["mean"], state["std"])
            return {"mean": tuple(mean), "std": tuple(std), "image_size": state["image_size"]}
    return {}
