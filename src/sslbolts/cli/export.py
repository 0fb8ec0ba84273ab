"""``sslbolts export``: the backbone of a checkpoint, ours or another library's, as a file that other programs read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbolts.cli.parser import Parser

if TYPE_CHECKING:
    from sslbolts.export import Loaded, Preprocessing

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the file, and say what is in it and how it is read.

    Raises:
        UsageError: for a user's mistake.
    """
    parser = Parser(
        "sslbolts export",
        description="Write the backbone of a checkpoint, ours or another library's, to a file that others read: "
        "sslbolts export runs/demo/simclr.ckpt resnet.onnx",
    )
    parser.add_argument("checkpoint", help="of sslbolts, lightning-bolts, solo-learn, lightly or an official release")
    parser.add_argument("output", help="the file: .safetensors, .onnx or .pt2")
    parser.add_argument(
        "--format",
        default="auto",
        metavar="NAME",
        help="safetensors, timm, torchvision (all three .safetensors), onnx (.onnx) or torch-export (.pt2); by default "
        "the first that goes with the ending",
    )
    parser.add_argument("--teacher", action="store_true", help="the teacher's backbone")
    parser.add_argument("--image_size", type=int, help="side of the images, where the checkpoint does not say it")
    parser.add_argument("--layout", help="of another library's checkpoint, where it is not recognised: moco, dino, ...")
    parser.add_argument("--backbone", help="name of the network, where another library's checkpoint does not tell")
    options = parser.parse_args(list(argv))

    from sslbolts.export import read_backbone
    from sslbolts.export.formats import choose_format

    format = choose_format(options.format, Path(options.output))  # told before anything is read
    loaded = read_backbone(
        options.checkpoint, teacher=options.teacher, layout=options.layout, backbone=options.backbone
    )
    if loaded.report is not None:
        print(loaded.report)
    path = loaded.write(options.output, format=format, image_size=options.image_size)
    print(f"wrote {path} ({format}, {path.stat().st_size / 1e6:.1f} MB); images: {_images(loaded.preprocessing)}")
    print(f"  {_reading(format, path, loaded)}")
    return 0


def _images(entry: "Preprocessing | None") -> str:
    if entry is None:
        return "size and normalization are not in the checkpoint"
    size = f"{entry.image_size} pixels" if entry.image_size else "any size"
    if entry.mean is None or entry.std is None:
        return f"{size}, in [0, 1]"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (entry.mean, entry.std))
    return f"{size}, in [0, 1], minus ({mean}), divided by ({std})"


def _reading(format: str, path: Path, loaded: "Loaded") -> str:
    """The line of Python that reads the file."""
    name = str((loaded.spec or {}).get("backbone", "")).rpartition("/")[2]
    arguments = "".join(
        f", {key}={value!r}" for key, value in ((loaded.spec or {}).get("backbone_kwargs") or {}).items()
    )
    return {
        "safetensors": f'sslbolts.load_backbone("{path}")',
        "timm": f'timm.create_model("{name}", num_classes=0, checkpoint_path="{path}"{arguments})',
        "torchvision": f'network.load_state_dict(safetensors.torch.load_file("{path}"))  # torchvision\'s {name}, its '
        "classifier replaced by nn.Identity()",
        "onnx": f'onnxruntime.InferenceSession("{path}").run(None, {{"images": images}})',
        "torch-export": f'torch.export.load("{path}").module()(images)',
    }[format]
