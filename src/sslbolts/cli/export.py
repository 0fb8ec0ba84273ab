"""``sslbolts export``: the backbone of a checkpoint, ours or another library's, as a file that other programs read."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslbolts.checks import must_be_writable
from sslbolts.cli.shared.parser import Parser

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
    parser.add_argument(
        "checkpoint", help="of sslbolts, lightning-bolts, solo-learn, lightly or an official release, or hf://..."
    )
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
    parser.add_argument(
        "--normalize",
        choices=("imagenet", "none"),
        help="how images were normalized, where the checkpoint does not say it: the new file then does",
    )
    parser.add_argument("--layout", help="of another library's checkpoint, where it is not recognized: moco, dino, ...")
    parser.add_argument("--backbone", help="name of the network, where another library's checkpoint does not tell")
    options = parser.parse(argv)

    from sslbolts.checkpoints.writing.formats import choose_format
    from sslbolts.export import read_backbone, write_backbone

    format = choose_format(options.format, Path(options.output))  # told before anything is read
    must_be_writable(options.output)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* was read as ")
        loaded = read_backbone(
            options.checkpoint, teacher=options.teacher, layout=options.layout, backbone=options.backbone
        )
    if loaded.report is not None:
        print(loaded.report)  # with what was warned of
    if options.normalize:
        loaded = _normalized(loaded, options.normalize)
    path = write_backbone(loaded, options.output, format=format, image_size=options.image_size)
    print(f"wrote {path} ({format}, {path.stat().st_size / 1e6:.1f} MB); images: {_images(loaded.preprocessing)}")
    print(f"  {_reading(format, path)}")
    return 0


def _images(entry: "Preprocessing | None") -> str:
    if entry is None:
        return "size and normalization are not in the checkpoint (--image_size, --normalize)"
    size = f"{entry.image_size} pixels" if entry.image_size else "size not in the checkpoint"
    if entry.neutral:
        return f"{size}, in [0, 1]"
    if entry.mean is None or entry.std is None:
        return f"{size}, normalization not in the checkpoint (--normalize)"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (entry.mean, entry.std))
    return f"{size}, in [0, 1], minus ({mean}), divided by ({std})"


def _normalized(loaded: "Loaded", normalize: str) -> "Loaded":
    from sslbolts.errors import UsageError
    from sslbolts.transforms.preprocessing import IMAGENET, Preprocessing

    entry = loaded.preprocessing or Preprocessing()
    if entry.mean is not None:
        raise UsageError(f"the checkpoint says how its images were normalized: leave --normalize {normalize} out.")
    channels = (loaded.spec or {}).get("in_chans", 3)
    if normalize == "imagenet" and channels != 3:
        raise UsageError(f"--normalize imagenet is for three channels, and this network takes {channels}: give none.")
    entry = replace(entry, in_chans=channels)
    entry = replace(entry, mean=IMAGENET.mean, std=IMAGENET.std) if normalize == "imagenet" else entry.unnormalized()
    return replace(loaded, preprocessing=entry)


def _reading(format: str, path: Path) -> str:
    """The line of Python that reads the file."""
    if format == "onnx":
        return f'onnxruntime.InferenceSession("{path}").run(None, {{"images": images}})'
    if format == "torch-export":
        return f'torch.export.load("{path}").module()(images)'
    if format == "safetensors":
        return f'sslbolts.load_backbone("{path}")'
    from sslbolts.export import backbone_spec

    spec = backbone_spec(path) or {}  # under the other library's name of the network
    name = spec["backbone"].rpartition("/")[2]
    arguments = [f"{key}={value!r}" for key, value in spec["backbone_kwargs"].items()]
    if format == "timm":
        channels = [] if spec["in_chans"] == 3 else [f"in_chans={spec['in_chans']}"]
        given = ", ".join([f'"{name}"', "num_classes=0", *channels, f'checkpoint_path="{path}"', *arguments])
        return f"timm.create_model({given})"
    first = "" if spec["in_chans"] == 3 else f" and its first convolution by one of {spec['in_chans']} channels"
    return (
        f'network.load_state_dict(safetensors.torch.load_file("{path}"))  # torchvision.models.{name}'
        f"({', '.join(arguments)}), its classifier replaced by nn.Identity(){first}"
    )
