"""``sslbolts evaluate PROTOCOL SOURCE``: how good a representation is, by one of the field's offline protocols."""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.cli.names import expand
from sslbolts.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["PROTOCOLS", "Protocol", "cache_folder", "data_for", "given_image_size", "given_in_chans", "main"]


@dataclass(frozen=True)
class Protocol:
    """A line of ``sslbolts evaluate --help``.

    Attributes:
        module: has ``add_options(parser)``, and ``evaluate(encoder, data, config) -> Result`` with ``config`` holding
            its options, ``seed`` and ``cache``; imported when the protocol is called.
        summary: what it does.
    """

    module: str
    summary: str


PROTOCOLS: dict[str, Protocol] = {
    "knn": Protocol("sslbolts.cli.protocols.knn", "nearest neighbours: k, temperature and metric swept"),
    "ridge": Protocol("sslbolts.cli.protocols.ridge", "linear classifier in closed form, penalty swept"),
    "linear": Protocol("sslbolts.cli.protocols.linear", "linear classifier by gradient, by a paper's recipe"),
    "few-label": Protocol("sslbolts.cli.protocols.few_label", "a classifier from 1 %, 10 % or n labels per class"),
    "mlp": Protocol("sslbolts.cli.protocols.mlp", "classifier with one hidden layer"),
    "layers": Protocol("sslbolts.cli.protocols.layers", "logistic regression on the maps of every block"),
    "finetune": Protocol("sslbolts.cli.protocols.finetune", "the whole network trained further, by a paper's recipe"),
}

_MOST_ROWS = 20  # of a sweep that are printed; the file has them all


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the result, and write it.

    Raises:
        UsageError: for a user's mistake; argparse's ``ArgumentError`` for a command line that cannot be parsed.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0
    name, *arguments = argv
    if name not in PROTOCOLS:
        raise UsageError(
            f'there is no protocol "{name}".{did_you_mean(name, PROTOCOLS)} It is one of {", ".join(PROTOCOLS)}: '
            "sslbolts evaluate PROTOCOL CHECKPOINT --data NAME."
        )
    protocol = importlib.import_module(PROTOCOLS[name].module)
    parser = _parser(name)
    protocol.add_options(parser)
    config = parser.parse_args(expand(arguments))
    if config.output is not None and Path(config.output).suffix != ".json":
        raise UsageError(f'--output "{config.output}": the file must end in .json.')
    _not_negative("seed", config.seed)

    from rich.console import Console

    from sslbolts._lightning import seed_everything
    from sslbolts.evaluation import load_encoder
    from sslbolts.evaluation.result import result_path

    seed_everything(config.seed, verbose=False)  # an untrained network is the same each time
    encoder = load_encoder(
        config.source,
        layer=config.layer,
        teacher=config.teacher,
        pretrained=not config.untrained,
        in_chans=given_in_chans(config),
        image_size=given_image_size(config),
        device=config.device,
    )
    data = data_for(parser, config, encoder)
    config.cache = cache_folder(config)
    result: Result = protocol.evaluate(encoder, data, config)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # another process of the same run
        return 0
    console = Console()
    console.print(result.table())
    if 0 < len(result.rows) <= _MOST_ROWS:
        console.print(result.rows_table())
    path = config.output or result_path(result.source, result.protocol, result.data, readout=encoder.readout)
    print(f"wrote {result.save(path)}")
    return 0


def _parser(name: str) -> Any:
    from jsonargparse import ArgumentParser

    from sslbolts._lightning import LightningDataModule

    parser = ArgumentParser(
        f"sslbolts evaluate {name}",
        description=f"{PROTOCOLS[name].summary[0].upper()}{PROTOCOLS[name].summary[1:]}: "
        f"sslbolts evaluate {name} runs/demo/simclr.ckpt --data CIFAR10Mini",
        exit_on_error=False,
    )
    parser.add_argument("source", help="a checkpoint, an exported file, timm/NAME or torchvision/NAME")
    parser.add_subclass_arguments(
        LightningDataModule, "data", required=False, help="name or class path of a DataModule"
    )
    parser.set_defaults({"data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule"}})
    parser.add_argument("--layer", default="backbone", help="backbone, projector, or the name of any layer")
    parser.add_argument("--teacher", action="store_true", help="the teacher's weights")
    parser.add_argument("--untrained", action="store_true", help="of timm/NAME: without the trained weights")
    parser.add_argument(
        "--cache", type=str | None, default="auto", help="folder of features; auto: beside the checkpoint; or none"
    )
    parser.add_argument("--output", type=str | None, default=None, help="FILE.json; default: beside the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    return parser


def data_for(parser: Any, config: Any, encoder: "Encoder") -> Any:
    """The DataModule, its images of the size and normalization that the network was trained on where these are known.

    What is given explicitly stays.
    """
    from sslbolts.methods import METHODS

    arguments = config.data.get("init_args") or {}
    if "image_size" in arguments and arguments["image_size"] is None and encoder.image_size is not None:
        arguments["image_size"] = encoder.image_size
    if arguments.get("views") == "simclr" and encoder.mean is None and encoder.name in METHODS:
        arguments["views"] = METHODS[encoder.name].views  # which say whether its images were normalized
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # as it was called before 4.49
    return make(config).data


def given_image_size(config: Any) -> int | None:
    """The side of the data's images, pixels, where the command line says it."""
    size = (config.data.get("init_args") or {}).get("image_size")
    return size if isinstance(size, int) else None


def given_in_chans(config: Any) -> int | None:
    """Of a network given by its name, which is made for the data's channels; a trained one has its own."""
    named = str(config.source).startswith(("timm/", "torchvision/"))
    return (config.data.get("init_args") or {}).get("in_chans") if named else None


def cache_folder(config: Any) -> Path | None:
    """Where features are kept: beside what they were computed from."""
    from sslbolts.evaluation.result import result_path

    if config.cache in (None, "none"):
        return None
    if config.cache != "auto":
        return Path(config.cache)
    return result_path(config.source, "", "").parent / "features"


def _not_negative(name: str, value: int) -> None:
    if value < 0:
        raise UsageError(f"--{name} {value}: it cannot be negative.")


def _help() -> str:
    width = max(map(len, PROTOCOLS))
    lines = [f"  {name:{width}}  {protocol.summary}" for name, protocol in PROTOCOLS.items()]
    return "\n".join(
        [
            "usage: sslbolts evaluate PROTOCOL SOURCE [--data NAME] [OPTIONS]",
            "",
            "How good a representation is. SOURCE is a checkpoint, an exported file, timm/NAME or torchvision/NAME.",
            "",
            *lines,
            "",
            "sslbolts evaluate PROTOCOL --help lists its options.",
        ]
    )
