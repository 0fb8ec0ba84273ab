"""The kinds of files a backbone is written to."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.files import METADATA, PREPROCESSING
from sslbolts.checkpoints.libraries import check_image, in_library
from sslbolts.checkpoints.preprocessing import Preprocessing
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["FORMATS", "choose_format", "write"]

FORMATS = {
    "safetensors": ".safetensors",
    "timm": ".safetensors",
    "torchvision": ".safetensors",
    "onnx": ".onnx",
    "torch-export": ".pt2",
}
"""Formats, and what their files end in."""


def choose_format(format: str, path: Path) -> str:
    """The format of a name, or for "auto" that of a file's ending.

    Raises:
        UsageError: for an unknown format or ending, or two that do not go together.

    Example:
        >>> choose_format("auto", Path("backbone.onnx"))
        'onnx'
    """
    if format == "auto":
        chosen = next((name for name, ending in FORMATS.items() if ending == path.suffix), None)
        if chosen is None:
            raise UsageError(f'"{path}" must end in {", ".join(dict.fromkeys(FORMATS.values()))}.')
        return chosen
    if format not in FORMATS:
        raise UsageError(
            f'format="{format}" must be auto or one of {", ".join(FORMATS)}.{did_you_mean(format, FORMATS)}'
        )
    if path.suffix != FORMATS[format]:
        raise UsageError(f'"{path}" must end in {FORMATS[format]} for the format {format}.')
    return format


def write(
    format: str,
    path: Path,
    weights: Mapping[str, Tensor],
    spec: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
    make: Callable[[], nn.Module],
) -> None:
    """Write a backbone.

    Args:
        format: one of ``FORMATS``.
        path: file to write; its folder is made.
        weights: of the bare network.
        spec: arguments of ``create_backbone`` that make the network; None for a module of the user's.
        preprocessing: how images enter; None where it is not known.
        make: makes the network with the weights, in eval mode.

    Raises:
        UsageError: if the network has no such form.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "safetensors":
        _write_weights(path, weights, spec, preprocessing)
    elif format in ("timm", "torchvision"):
        weights, named = in_library(format, make(), spec, preprocessing)
        _write_weights(path, weights, named, preprocessing)
    else:
        network = make().to(memory_format=torch.contiguous_format)  # exporters warn of channels last
        (_write_onnx if format == "onnx" else _write_program)(path, network, spec, preprocessing)


def _write_weights(
    path: Path, weights: Mapping[str, Tensor], spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> None:
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    save_file(tensors, path, metadata={"format": "pt", **_metadata(spec, preprocessing)})


def _write_onnx(
    path: Path, network: nn.Module, spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UsageError(f'"{path}" needs onnx and onnxscript: pip install "sslbolts[onnx]".') from None
    images = check_image(network, spec, preprocessing, count=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program: Any = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=_any_number(),
            verbose=False,
        )
    program.model.metadata_props.update(_metadata(spec, preprocessing))
    program.save(str(path))


def _write_program(
    path: Path, network: nn.Module, spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> None:
    images = check_image(network, spec, preprocessing, count=2)
    program = torch.export.export(network, (images,), dynamic_shapes=_any_number())
    metadata = {name: json.loads(value) for name, value in _metadata(spec, preprocessing).items()}
    torch.export.save(program, path, extra_files={"sslbolts.json": json.dumps(metadata)})


def _any_number() -> tuple[dict[int, Any]]:
    """How the exporters are told that the number of images is free; below torch 2.7 they want a largest one."""
    return ({0: torch.export.Dim("batch", min=1, max=2**31 - 1)},)


def _metadata(spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None) -> dict[str, str]:
    return {
        METADATA: json.dumps(spec),
        PREPROCESSING: json.dumps((preprocessing or Preprocessing()).plain),
    }
