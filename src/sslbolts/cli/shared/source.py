"""The trained network, the data and the features of a command line."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.checks import import_class, naming
from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder

__all__ = [
    "add_cache",
    "add_data",
    "add_init",
    "add_source",
    "arguments_of",
    "cache_folder",
    "data_of",
    "drawn_anew",
    "encoder_of",
    "instantiated_data",
]


def add_source(parser: Parser, *, layer: bool = True) -> None:
    """The network, and the seed of what is drawn.

    Args:
        parser: gets the options.
        layer: whether it may be asked for other features than the backbone's.
    """
    parser.add_argument("source", help="a checkpoint, an exported file, hf://OWNER/NAME, timm/NAME or torchvision/NAME")
    if layer:
        parser.add_argument("--layer", default="backbone", help="backbone, projector, or the name of any layer")
    parser.add_argument(
        "--model", type=str | None, default=None, help="class path of a checkpoint's method of your own"
    )
    parser.add_argument("--teacher", action="store_true", help="the teacher's weights")
    parser.add_argument("--untrained", action="store_true", help="of timm/NAME: without the trained weights")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def add_data(parser: Parser, kind: type) -> None:
    """The DataModule, a subclass of ``kind``."""
    parser.add_subclass_arguments(
        kind, "data", as_group=False, required=False, help="name or class path of a DataModule, and --data.ARGUMENT"
    )
    parser.set_defaults({"data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule"}})


def add_init(parser: Parser, inits: Sequence[str] = ("random", "rescaled")) -> None:
    """Weights in place of the network's own, of those of ``inits``."""
    words = {"random": "random, as training begins", "rescaled": "rescaled on training images"}
    parser.add_argument(
        "--init",
        type=str | None,
        default=None,
        help=f"{', or '.join(words[init] for init in inits)}: the network without what it has learned",
    )


def add_cache(parser: Parser) -> None:
    """The folder of features."""
    parser.add_argument(
        "--cache", type=str | None, default="auto", help="folder of features; auto: beside the checkpoint; or none"
    )


def encoder_of(config: Any) -> "Encoder":
    """The network of a command line. Everything random is drawn from the seed, an untrained network too."""
    from sslbolts._lightning import seed_everything
    from sslbolts.evaluation import load_encoder

    given = _data_arguments(config)
    size = given.get("image_size")
    # A network that is given by its name is made for the data's channels; a trained one has its own.
    named = str(config.source).startswith(("timm/", "torchvision/"))
    seed_everything(config.seed, verbose=False)
    own = None if config.model is None else import_class(config.model)
    with naming([] if own is None else [config.model, f"{own.__module__}.{own.__qualname__}"]):
        encoder = load_encoder(
            config.source,
            layer=getattr(config, "layer", "backbone"),
            teacher=config.teacher,
            pretrained=not config.untrained and getattr(config, "init", None) is None,
            in_chans=given.get("in_chans") if named else None,
            image_size=size if isinstance(size, int) else None,
            device=config.device,
        )
    if own is not None and encoder.name != own.__name__:
        raise UsageError(
            f'--model {config.model}: "{config.source}" holds no method of that class with all its arguments: leave '
            "--model out, or give the checkpoint that goes with it."
        )
    return encoder


def drawn_anew(config: Any, encoder: "Encoder", data: Any) -> "Encoder":
    """The network with other weights, if the command line asks for them."""
    from sslbolts.evaluation import initialized

    if config.init is None:
        return encoder
    if config.untrained:
        raise UsageError(f"--init {config.init} draws the weights anew: leave --untrained out.")
    return initialized(encoder, config.init, data, seed=config.seed)


def data_of(parser: Parser, config: Any, encoder: "Encoder") -> Any:
    """The DataModule, its images of the size and normalization that the network was trained on where these are known.

    What is given explicitly stays.
    """
    from sslbolts.methods import METHODS

    arguments = _data_arguments(config)
    if "image_size" in arguments and arguments["image_size"] is None and encoder.preprocessing.image_size is not None:
        arguments["image_size"] = encoder.preprocessing.image_size
    if arguments.get("views") == "simclr" and encoder.preprocessing.mean is None and encoder.name in METHODS:
        arguments["views"] = METHODS[encoder.name].views  # which say whether its images were normalized
    return instantiated_data(parser, config)


def instantiated_data(parser: Parser, config: Any) -> Any:
    """The DataModule as the command line has it."""
    return parser.instantiate(config).data


def cache_folder(config: Any, encoder: "Encoder") -> Path | None:
    """The folder of features, by default beside the network that they are computed with; None for none."""
    from sslbolts.evaluation.result import result_path

    if config.cache in (None, "none"):
        return None
    if config.cache != "auto":
        return Path(config.cache)
    return result_path(encoder.source, "", "").parent / "features"


def arguments_of(function: Callable[..., Any], config: Any, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments of a function, besides network and data.

    Args:
        function: gets the options that it has arguments for.
        config: of the command line.
        changes: names of further options, of which it gets those that are not None.
    """
    names = [name for name in inspect.signature(function).parameters if name in config and name != "data"]
    return {name: config[name] for name in names} | {n: config[n] for n in changes if config[n] is not None}


def _data_arguments(config: Any) -> Any:
    data = getattr(config, "data", None)
    return {} if data is None else data.get("init_args") or {}
