"""What the commands share that look at a trained network: which one, on which data, and where the result goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = [
    "add_cache",
    "add_data",
    "add_output",
    "add_source",
    "cache_folder",
    "check",
    "data_of",
    "encoder_of",
    "instantiated_data",
    "result_file",
]


def add_source(parser: Any, *, layer: bool = True) -> None:
    """The network, and the seed of what is drawn.

    Args:
        parser: argparse's or jsonargparse's.
        layer: whether it may be asked for other features than the backbone's.
    """
    parser.add_argument("source", help="a checkpoint, an exported file, timm/NAME or torchvision/NAME")
    if layer:
        parser.add_argument("--layer", default="backbone", help="backbone, projector, or the name of any layer")
    parser.add_argument("--teacher", action="store_true", help="the teacher's weights")
    parser.add_argument("--untrained", action="store_true", help="of timm/NAME: without the trained weights")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def add_data(parser: Any, kind: type) -> None:
    """The DataModule, a subclass of ``kind``; jsonargparse's parser only."""
    parser.add_subclass_arguments(kind, "data", required=False, help="name or class path of a DataModule")
    parser.set_defaults({"data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule"}})


def add_cache(parser: Any) -> None:
    """Where features are kept."""
    parser.add_argument(
        "--cache", type=str | None, default="auto", help="folder of features; auto: beside the checkpoint; or none"
    )


def add_output(parser: Any) -> None:
    """Where the result goes."""
    parser.add_argument("--output", default=None, help="FILE.json; default: beside the checkpoint")


def check(config: Any) -> None:
    """Refuse what could not be used at the end.

    Raises:
        UsageError: for a result that is no ``.json``, or a seed below 0.
    """
    if config.output is not None and Path(config.output).suffix != ".json":
        raise UsageError(f'--output "{config.output}": the file must end in .json.')
    if config.seed < 0:
        raise UsageError(f"--seed {config.seed}: it cannot be negative.")


def encoder_of(config: Any) -> "Encoder":
    """The network of a command line. Everything random is drawn from the seed, an untrained network too."""
    from sslbolts._lightning import seed_everything
    from sslbolts.evaluation import load_encoder

    given = _data_arguments(config)
    size = given.get("image_size")
    # A network that is given by its name is made for the data's channels; a trained one has its own.
    named = str(config.source).startswith(("timm/", "torchvision/"))
    seed_everything(config.seed, verbose=False)
    return load_encoder(
        config.source,
        layer=getattr(config, "layer", "backbone"),
        teacher=config.teacher,
        pretrained=not config.untrained,
        in_chans=given.get("in_chans") if named else None,
        image_size=size if isinstance(size, int) else None,
        device=config.device,
    )


def data_of(parser: Any, config: Any, encoder: "Encoder") -> Any:
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


def instantiated_data(parser: Any, config: Any) -> Any:
    """The DataModule as the command line has it."""
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # as it was called before 4.49
    return make(config).data


def cache_folder(config: Any, encoder: "Encoder") -> Path | None:
    """Where features are kept: beside what they were computed from."""
    from sslbolts.evaluation.result import result_path

    if config.cache in (None, "none"):
        return None
    if config.cache != "auto":
        return Path(config.cache)
    return result_path(encoder.source, "", "").parent / "features"


def result_file(result: "Result", config: Any, encoder: "Encoder") -> Path:
    """Where a result goes: as the command line says, or beside the checkpoint, in the place of none but the same."""
    from sslbolts.evaluation.result import free_path, result_path

    if config.output is not None:
        return Path(config.output)
    recipe = getattr(config, "recipe", None) or ""
    return free_path(
        result, result_path(result.source, result.protocol, result.data, readout=encoder.readout, recipe=recipe)
    )


def _data_arguments(config: Any) -> Any:
    data = getattr(config, "data", None)
    return {} if data is None else data.get("init_args") or {}
