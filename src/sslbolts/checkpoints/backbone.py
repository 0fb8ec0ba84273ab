"""The backbone alone, out of a method, its checkpoint, another library's, or a file that was exported."""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslbolts.checkpoints.files import METADATA, PREPROCESSING, read_safetensors, some, uncompiled
from sslbolts.checkpoints.foreign.layouts import Layout
from sslbolts.checkpoints.foreign.reader import ImportReport, read_foreign
from sslbolts.checkpoints.hub import CONFIG, WEIGHTS, fetch, is_address
from sslbolts.checkpoints.misfit import misfit
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checkpoints.safe_arguments import arguments_of_shape
from sslbolts.checkpoints.timm_config import read_timm_config
from sslbolts.errors import UsageError
from sslbolts.networks.backbones import create_backbone
from sslbolts.transforms.preprocessing import IMAGENET, Preprocessing

__all__ = ["Loaded", "backbone_spec", "load_backbone", "read_backbone"]

_DATA = ("image_size", "mean", "std", "in_chans", "value_range")  # what a DataModule says of its images
_SPEC = ("backbone", "stem", "in_chans", "backbone_kwargs")

# Methods whose backbone takes other channels than images have, which their prepare(images) makes.
_PREPARED = {"Colorization": "lightness, (L - 50) / 50", "SplitBrain": "Lab, (L - 50, a, b) / 50"}


@dataclass(frozen=True)
class Loaded:
    """A backbone's weights, and what a file says of their network.

    Attributes:
        weights: under the names that the bare network gives them.
        spec: arguments of ``create_backbone``; None where the network was given as a module.
        preprocessing: how images entered; None where it is not known.
        report: what was found in another library's checkpoint; None for files of sslbolts.
        source: the file or class, for messages.
        module: the network itself, where there is one already.
        method: name of the class that trained it; "" where it is not known.
    """

    weights: dict[str, Tensor]
    spec: dict[str, Any] | None
    preprocessing: Preprocessing | None
    report: ImportReport | None
    source: str
    module: nn.Module | None = None
    method: str = ""

    def network(self) -> nn.Module:
        """The network with these weights, in eval mode.

        Raises:
            UsageError: if the file does not say what network it is of, or the weights are of another one.
        """
        network = _rebuild(self.spec, self.source) if self.module is None else self.module
        _fill(network, self.weights, self.source)
        return network.eval()


def load_backbone(
    path: str | Path,
    *,
    teacher: bool = False,
    backbone: str | nn.Module | None = None,
    layout: str | Layout | None = None,
) -> nn.Module:
    """The trained network ``(B, C, H, W) -> (B, D)``, in eval mode, without Lightning or anything of its method.

    It warns where another library's checkpoint leaves open something that changes features, and says what it took.

    Args:
        path: a file of :func:`export_backbone`; a checkpoint of a method; one of lightning-bolts, solo-learn or
            lightly; one of the official releases of MoCo v1 to v3, SimSiam, SwAV, DINO, Barlow Twins, VICReg and MAE;
            or the weights of a timm or torchvision network (:data:`sslbolts.export.LAYOUTS` has the table). Or the
            address ``hf://OWNER/NAME`` (``@REVISION``) of what `sslbolts push` or timm has put on the Hugging Face Hub.
        teacher: out of a checkpoint, the teacher's backbone instead of the student's.
        backbone: the network to fill, where it was given to the method as a module; of another library's checkpoint
            also its name, where names and shapes of the weights do not tell.
        layout: name of another library's layout, or one of your own; None recognizes it.

    Raises:
        UsageError: if there is no such file, it holds no backbone, or its weights are not those of the network; or if
            the Hub has no such repository or cannot be reached.

    Example:
        >>> load_backbone("runs/nowhere.safetensors")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: there is no file "runs/nowhere.safetensors".
    """
    return read_backbone(path, teacher=teacher, layout=layout, backbone=backbone).network()


def backbone_spec(path: str | Path) -> dict[str, Any] | None:
    """Arguments of :func:`sslbolts.networks.backbones.create_backbone` that make the network of a file.

    Args:
        path: any file that :func:`load_backbone` reads.

    Returns:
        ``backbone``, ``stem``, ``in_chans`` and ``backbone_kwargs``; None where the method was given a module.

    Raises:
        UsageError: if there is no such file, or it holds no backbone.
    """
    return read_backbone(path).spec


def read_backbone(
    source: nn.Module | str | Path,
    *,
    teacher: bool = False,
    layout: str | Layout | None = None,
    backbone: str | nn.Module | None = None,
) -> Loaded:
    """Weights, form and preprocessing of a backbone, and for another library's checkpoint what matched in it.

    Args:
        source: as in :func:`export_backbone`.
        teacher: as in :func:`load_backbone`.
        layout: as in :func:`load_backbone`.
        backbone: as in :func:`load_backbone`.

    Raises:
        UsageError: if there is no such file, or it holds no backbone.
    """
    if isinstance(source, nn.Module):
        return _of_module(source, teacher)
    if is_address(source):
        return _of_hub(str(source), teacher, layout, backbone)
    suffix = Path(source).suffix
    if suffix in (".onnx", ".pt2"):
        reader = "onnxruntime.InferenceSession" if suffix == ".onnx" else "torch.export.load"
        raise UsageError(
            f'"{source}" is a program and not weights, and running it is yours to decide: {reader}("{source}").'
        )
    if suffix == ".safetensors":
        tensors, metadata = read_safetensors(source)
        if METADATA in metadata:
            if teacher:
                raise UsageError("an exported file holds one backbone: pass teacher=True to export_backbone instead.")
            entry = Preprocessing.of(metadata.get(PREPROCESSING))
            return _ours(tensors, _spec(metadata[METADATA]), entry, source, backbone)
        checkpoint = Checkpoint(source, tensors)
    else:
        checkpoint = Checkpoint.read(source)
        if layout is None and checkpoint.is_ours:  # others have a hyperparameter "backbone", too
            return _of_checkpoint(checkpoint, teacher, backbone)
    found = read_foreign(source, checkpoint.content, teacher=teacher, layout=layout, backbone=backbone)
    if found.report.assumed:
        warnings.warn(f'"{source}" was read as {found.report.source}: {found.report.assumed}.', stacklevel=3)
    entry = replace(IMAGENET, image_size=found.image_size or IMAGENET.image_size) if found.layout.imagenet else None
    return Loaded(found.weights, found.spec, entry, found.report, str(source), found.network)


def _of_hub(address: str, teacher: bool, layout: str | Layout | None, backbone: str | nn.Module | None) -> Loaded:
    """The backbone behind an address of the Hub; timm's own files say the network in their ``config.json``."""
    weights = fetch(address, WEIGHTS)
    tensors, metadata = read_safetensors(weights)
    if METADATA in metadata:
        return replace(read_backbone(weights, teacher=teacher, layout=layout, backbone=backbone), source=address)
    spec: dict[str, Any] | None = None
    entry: Preprocessing | None = None
    if backbone is None:
        spec, entry = read_timm_config(fetch(address, CONFIG), address)
        backbone = _rebuild(spec, address)
    found = read_foreign(address, tensors, teacher=teacher, layout=layout, backbone=backbone)
    return Loaded(found.weights, spec or found.spec, entry, found.report, address, found.network)


def _of_module(module: nn.Module, teacher: bool) -> Loaded:
    network: Any = getattr(module, "backbone", None)
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{type(module).__name__} has no backbone to export: pass a module with an attribute of that name."
        )
    if teacher:
        pairs: list[tuple[nn.Module, nn.Module]] = getattr(module, "ema_pairs", list)()
        of_backbone = [kept for student, kept in pairs if student is network]
        if not of_backbone:
            raise UsageError(f"{type(module).__name__} has no teacher of its backbone: leave teacher=True out.")
        network = of_backbone[0]
    entrance = getattr(module, "input_module", None)  # methods have it
    if entrance is not None and entrance() is not module.backbone:
        raise _filtered(type(module).__name__, type(entrance()).__name__)
    weights = {uncompiled(name): tensor for name, tensor in network.state_dict().items()}
    # In another module a hyperparameter "backbone" may be a name that it made into a network in its own way.
    spec = None if entrance is None else _spec(getattr(module, "hparams", {}))
    data = getattr(getattr(module, "_trainer", None), "datamodule", None)
    entry = Preprocessing.of({name: getattr(data, name) for name in _DATA if hasattr(data, name)})
    if _is_prepared(*(cls.__name__ for cls in type(module).__mro__)):
        entry = None
    bare = getattr(network, "_orig_mod", network)
    own = type(module).__name__
    return Loaded(weights, spec, entry, None, own, None if spec else deepcopy(bare), method=own)


def _of_checkpoint(checkpoint: Checkpoint, teacher: bool, backbone: str | nn.Module | None) -> Loaded:
    prefix = "teacher.backbone." if teacher else "backbone."
    names = checkpoint.weights
    weights = {name.removeprefix(prefix): tensor for name, tensor in names.items() if name.startswith(prefix)}
    if not weights:
        parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
        what = "teacher's backbone: leave teacher=True out" if teacher else f"backbone, only {some(parts)}"
        raise UsageError(f'the checkpoint "{checkpoint.path}" holds no {what}.')
    if checkpoint.arguments.get("sobel"):
        raise _filtered(str(checkpoint.class_path).rpartition(".")[2], "Sobel")
    method = str(checkpoint.class_path).rpartition(".")[2]
    entry = None if _is_prepared(method) else checkpoint.preprocessing
    return replace(_ours(weights, _spec(checkpoint.arguments), entry, checkpoint.path, backbone), method=method)


def _ours(
    weights: dict[str, Tensor],
    spec: dict[str, Any] | None,
    entry: Preprocessing | None,
    path: str | Path,
    backbone: str | nn.Module | None,
) -> Loaded:
    if isinstance(backbone, str):
        raise UsageError(
            f'"{path}" says itself what network it is: leave backbone="{backbone}" out.'
            if spec
            else f'"{path}" is of a method that was given a module: pass that module, backbone=..., and not a name.'
        )
    return Loaded(weights, spec, entry, None, str(path), backbone)


def _is_prepared(*classes: str) -> bool:
    """True, with a warning, for the backbone of a method that makes other channels of its images."""
    name = next((name for name in classes if name in _PREPARED), None)
    if name is not None:
        warnings.warn(
            f"the backbone of {name} takes no RGB images but {_PREPARED[name]}: the method's prepare(images) makes it "
            "of images in [0, 1].",
            stacklevel=5,
        )
    return name is not None


def _filtered(method: str, filter_name: str) -> UsageError:
    return UsageError(
        f"this {method} sees images through {filter_name}, which its backbone alone leaves out: take "
        f"{method}.load_from_checkpoint(path) itself, or export a module of yours whose attribute backbone is "
        "nn.Sequential(method.input_module(), method.backbone)."
    )


def _spec(hparams: Any) -> dict[str, Any] | None:
    """The arguments that make the network again; None where it was given as a module."""
    if not isinstance(hparams, Mapping) or not isinstance(hparams.get("backbone"), str):
        return None
    spec = {name: hparams[name] for name in _SPEC if name in hparams}
    return {**spec, "backbone_kwargs": arguments_of_shape(spec.get("backbone_kwargs"))}


def _rebuild(spec: dict[str, Any] | None, path: str) -> nn.Module:
    if spec is None:
        raise UsageError(
            f'"{path}" does not say what network it is, since its method was given a module: pass that module, '
            "backbone=..., to be filled with the weights."
        )
    arguments = dict(spec)
    kwargs = arguments.pop("backbone_kwargs", {})
    return create_backbone(arguments.pop("backbone"), **arguments, **kwargs)


def _fill(network: nn.Module, weights: dict[str, Tensor], path: str) -> None:
    found = misfit(network, weights)
    if any(found):
        raise UsageError(
            f'the weights in "{path}" are not those of this {type(network).__name__}: missing {some(found.missing)}; '
            f"unexpected {some(found.unexpected)}; of another shape {some(found.reshaped)}."
        )
    network.load_state_dict(weights)
