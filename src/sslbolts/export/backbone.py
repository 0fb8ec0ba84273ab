"""The backbone alone: out of a method or its checkpoint into a small file, and back into a network."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from sslbolts.backbones import create_backbone
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["backbone_spec", "export_backbone", "load_backbone"]

_METADATA = "sslbolts"  # under which the file says how to rebuild the network
_SPEC = ("backbone", "stem", "in_chans", "backbone_kwargs")
_STARTING_WEIGHTS = ("pretrained", "weights")  # of backbone_kwargs: where training began, not what the network is


def export_backbone(source: nn.Module | str | Path, path: str | Path, *, teacher: bool = False) -> Path:
    """Write the backbone's weights to a safetensors file, under the names that the bare network gives them.

    :func:`load_backbone` rebuilds the network from the file alone. Where the backbone is a timm network of unchanged
    form (``stem="imagenet"``), so does ``timm.create_model(name, num_classes=0, checkpoint_path=path)``.

    Args:
        source: a method (any module with a ``backbone``), or the path of a Lightning checkpoint of one.
        path: file to write, by custom ``.safetensors``; its folder is made.
        teacher: the teacher's backbone instead of the student's.

    Returns:
        ``path``.

    Raises:
        UsageError: if there is no such file, or nothing in it is a backbone or, if asked for, a teacher.

    Example:
        >>> import tempfile
        >>> from sslbolts import SimCLR
        >>> method = SimCLR("resnet18", stem="cifar")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = load_backbone(export_backbone(method, f"{folder}/resnet18.safetensors"))
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.allclose(network(images), method.eval()(images), atol=1e-5)
        True
    """
    from safetensors.torch import save_file

    weights, spec = _of_module(source, teacher) if isinstance(source, nn.Module) else _of_checkpoint(source, teacher)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    save_file(tensors, path, metadata={"format": "pt", _METADATA: json.dumps(spec)})
    return path


def load_backbone(path: str | Path, *, teacher: bool = False, backbone: nn.Module | None = None) -> nn.Module:
    """The trained network ``(B, C, H, W) -> (B, D)``, in eval mode, without Lightning or anything of its method.

    Args:
        path: a file of :func:`export_backbone`, or a Lightning checkpoint of a method.
        teacher: out of a checkpoint, the teacher's backbone instead of the student's.
        backbone: the network to fill, where it was given to the method as a module and not by name.

    Raises:
        UsageError: if there is no such file, it holds no backbone, or its weights are not those of the network.

    Example:
        >>> load_backbone("runs/nowhere.safetensors")
        Traceback (most recent call last):
        sslbolts.errors.UsageError: there is no file "runs/nowhere.safetensors".
    """
    exported = Path(path).suffix == ".safetensors"
    if exported and teacher:
        raise UsageError("an exported file holds one backbone: pass teacher=True to export_backbone instead.")
    weights, spec = _of_file(path) if exported else _of_checkpoint(path, teacher)
    network = _rebuild(spec, path) if backbone is None else backbone
    _fill(network, weights, path)
    return network.eval()


def backbone_spec(path: str | Path) -> dict[str, Any] | None:
    """Arguments of :func:`sslbolts.backbones.create_backbone` that make the network of a file, without its weights.

    Args:
        path: a file of :func:`export_backbone`, or a Lightning checkpoint of a method.

    Returns:
        ``backbone``, ``stem``, ``in_chans`` and ``backbone_kwargs``; None where the method was given a module.

    Raises:
        UsageError: if there is no such file, or it holds no backbone.
    """
    return _of_file(path)[1] if Path(path).suffix == ".safetensors" else _of_checkpoint(path, teacher=False)[1]


def _fill(network: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    expected = network.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    reshaped = [name for name in expected if name in weights and expected[name].shape != weights[name].shape]
    if missing or unexpected or reshaped:
        raise UsageError(
            f'the weights in "{path}" are not those of this {type(network).__name__}: missing {_some(missing)}; '
            f"unexpected {_some(unexpected)}; of another shape {_some(reshaped)}."
        )
    network.load_state_dict(weights)


def _of_module(module: nn.Module, teacher: bool) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
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
    weights = {_uncompiled(name): tensor for name, tensor in network.state_dict().items()}
    return weights, _spec(getattr(module, "hparams", {}))


def _of_checkpoint(path: str | Path, teacher: bool) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    _must_exist(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, BadZipFile, EOFError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f'"{path}" cannot be read as a checkpoint of tensors and plain data: {reason}') from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise UsageError(f'"{path}" is not a Lightning checkpoint: it has no state_dict.')
    prefix = "teacher.backbone." if teacher else "backbone."
    names = {_uncompiled(name): tensor for name, tensor in state.items()}
    weights = {name.removeprefix(prefix): tensor for name, tensor in names.items() if name.startswith(prefix)}
    if not weights:
        parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
        what = "teacher's backbone: leave teacher=True out" if teacher else f"backbone, only {_some(parts)}"
        raise UsageError(f'the checkpoint "{path}" holds no {what}.')
    return weights, _spec(checkpoint.get("hyper_parameters", {}))


def _of_file(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    from safetensors import SafetensorError, safe_open

    _must_exist(path)
    try:
        with safe_open(path, framework="pt") as file:
            spec = json.loads((file.metadata() or {}).get(_METADATA, "null"))
            names = file.keys()  # it is not a mapping
            return {name: file.get_tensor(name) for name in names}, spec
    except SafetensorError as error:
        raise UsageError(f'"{path}" is not a safetensors file: {error}.') from error


def _spec(hparams: Mapping[str, Any]) -> dict[str, Any] | None:
    """How to make the network again, or None where it was given as a module."""
    if not isinstance(hparams.get("backbone"), str):
        return None
    spec = {name: hparams[name] for name in _SPEC if name in hparams}
    kwargs = spec.get("backbone_kwargs") or {}
    spec["backbone_kwargs"] = {name: value for name, value in kwargs.items() if name not in _STARTING_WEIGHTS}
    return spec


def _rebuild(spec: dict[str, Any] | None, path: str | Path) -> nn.Module:
    if spec is None:
        raise UsageError(
            f'"{path}" does not say what network it is, since its method was given a module: pass that module, '
            "backbone=..., to be filled with the weights."
        )
    arguments = dict(spec)
    kwargs = arguments.pop("backbone_kwargs", {})
    return create_backbone(arguments.pop("backbone"), **arguments, **kwargs)


def _uncompiled(name: str) -> str:
    return name.replace("_orig_mod.", "")  # what torch.compile(network) puts before every name


def _must_exist(path: str | Path) -> None:
    path = Path(path)
    if not path.is_file():
        folder = path.parent
        near = did_you_mean(path.name, [p.name for p in folder.iterdir() if p.is_file()]) if folder.is_dir() else ""
        raise UsageError(f'there is no file "{path}".{near}')


def _some(names: list[str]) -> str:
    return "nothing" if not names else ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
