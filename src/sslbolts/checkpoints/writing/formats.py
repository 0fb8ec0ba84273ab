"""A backbone into a file that other programs read, and the formats of such files."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.backbone import Loaded, read_backbone
from sslbolts.checkpoints.files import METADATA, PREPROCESSING
from sslbolts.checkpoints.foreign.layouts import Layout
from sslbolts.checkpoints.writing.libraries import check_image, in_library
from sslbolts.checks import whole, whole_file
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.transforms.preprocessing import Preprocessing

__all__ = ["FORMATS", "choose_format", "export_backbone", "write_backbone"]

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


def export_backbone(
    source: nn.Module | str | Path,
    path: str | Path,
    *,
    teacher: bool = False,
    format: str = "auto",
    image_size: int | None = None,
    layout: str | Layout | None = None,
    backbone: str | nn.Module | None = None,
) -> Path:
    """Write the backbone alone to a file that other programs read.

    Args:
        source: a method (any module with a ``backbone``); or the path of a checkpoint of one, of a file of this
            function, or of a checkpoint of another library that :func:`load_backbone` reads.
        path: file to write; its folder is made.
        teacher: the teacher's backbone instead of the student's.
        format: "safetensors": the weights, with what :func:`load_backbone` needs to rebuild the network; "timm" and
            "torchvision": the weights under that library's names, loaded strictly into its network and seen to give the
            same features before anything is written; "onnx" and "torch-export": the network with its weights, for any
            number of images of one size. "auto" goes by the ending: ``.onnx``, ``.pt2``, else safetensors.
        image_size: side of the images, pixels, for "onnx" and "torch-export"; None is that of the training data where
            it is known, or else 224.
        layout: of another library's checkpoint; see :func:`load_backbone`.
        backbone: see :func:`load_backbone`.

    Returns:
        ``path``. Safetensors and ONNX files hold mean, standard deviation and size of the images among their metadata,
        a torch-export program in its extra file ``sslbolts.json``.

    Raises:
        UsageError: if there is no such file or format, nothing in the source is a backbone or, if asked for, a teacher,
            the other library has no network that gives the same features, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from sslbolts import SimCLR, load_backbone
        >>> method = SimCLR("resnet18", stem="cifar")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = load_backbone(export_backbone(method, f"{folder}/resnet18.safetensors"))
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.allclose(network(images), method.eval()(images), atol=1e-5)
        True
    """
    choose_format(format, Path(path))  # a mistake is told before anything is read
    loaded = read_backbone(source, teacher=teacher, layout=layout, backbone=backbone)
    return write_backbone(loaded, path, format=format, image_size=image_size)


def write_backbone(loaded: Loaded, path: str | Path, *, format: str = "auto", image_size: int | None = None) -> Path:
    """Write a backbone that was read; see :func:`export_backbone`.

    Raises:
        UsageError: for an unknown format, or a network that has no such form.
    """
    path = Path(path)
    format = choose_format(format, path)
    spec, preprocessing = loaded.spec, loaded.preprocessing
    whole(image_size=image_size)
    if image_size is not None:
        preprocessing = replace(preprocessing or Preprocessing(), image_size=image_size)
    if format == "safetensors":
        _write_weights(path, loaded.weights, spec, preprocessing)
    elif format in ("timm", "torchvision"):
        weights, named = in_library(format, loaded.network(), spec, preprocessing)
        _write_weights(path, weights, named, preprocessing)
    else:
        network = loaded.network().to(memory_format=torch.contiguous_format)  # exporters warn of channels last
        (_write_onnx if format == "onnx" else _write_program)(path, network, spec, preprocessing)
    return path


def _write_weights(
    path: Path, weights: Mapping[str, Tensor], spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    with whole_file(path, (SafetensorError,)) as unfinished:
        save_file(tensors, unfinished, metadata={"format": "pt", **_metadata(spec, preprocessing)})


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
    with whole_file(path) as unfinished:
        program.save(str(unfinished))


def _write_program(
    path: Path, network: nn.Module, spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> None:
    images = check_image(network, spec, preprocessing, count=2)
    program = torch.export.export(network, (images,), dynamic_shapes=_any_number())
    metadata = {name: json.loads(value) for name, value in _metadata(spec, preprocessing).items()}
    with whole_file(path, (RuntimeError,)) as unfinished:
        torch.export.save(program, unfinished, extra_files={"sslbolts.json": json.dumps(metadata)})


def _any_number() -> tuple[dict[int, Any]]:
    """The dynamic shape of any number of images; below torch 2.7 exporters want a largest one."""
    return ({0: torch.export.Dim("batch", min=1, max=2**31 - 1)},)


def _metadata(spec: Mapping[str, Any] | None, preprocessing: Preprocessing | None) -> dict[str, str]:
    return {
        METADATA: json.dumps(spec),
        PREPROCESSING: json.dumps((preprocessing or Preprocessing()).plain),
    }
