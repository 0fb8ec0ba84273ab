"""``sslbolts evaluate PROTOCOL SOURCE``: how good a representation is, by one of the field's offline protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sslbolts.evaluation import Encoder, Result

__all__ = ["PROTOCOLS", "Protocol", "main"]


@dataclass(frozen=True)
class Protocol:
    """A line of ``sslbolts evaluate --help``.

    Attributes:
        function: of ``sslbolts.evaluation``; its arguments are the options.
        summary: what it does.
        settings: of ``sslbolts.evaluation``, tables of settings by name; the fields of the first are options too, each
            in place of the value that the chosen settings have.
        fields: the names of these fields; None is all.
    """

    function: str
    summary: str
    settings: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None


_OF_PROBES_ON_MAPS = (
    "optimizer", "lr_scaling", "nesterov", "betas", "weight_decay", "epochs", "batch_size", "warmup_epochs", "decay",
    "milestones", "step_factor", "crop", "ratio", "padding", "interpolation",
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {
    "knn": Protocol("evaluate_knn", "nearest neighbors: k, temperature and metric swept"),
    "ridge": Protocol("evaluate_ridge", "linear classifier in closed form, penalty swept"),
    "linear": Protocol("evaluate_linear", "linear classifier by gradient, by a paper's settings", ("PROBE_SETTINGS",)),
    "few-label": Protocol(
        "evaluate_few_label",
        "a classifier from 1 %, 10 % or n labels per class",
        ("PROBE_SETTINGS", "FINE_TUNE_SETTINGS"),
        ("epochs", "lr"),
    ),
    "label-efficiency": Protocol(
        "evaluate_label_efficiency",
        "frozen features beside training from scratch, over labels per class",
        ("FINE_TUNE_SETTINGS",),
        ("lr", "weight_decay", "optimizer", "lr_scaling", "decay", "crop_scale"),
    ),
    "mlp": Protocol("evaluate_mlp", "classifier with one hidden layer", ("PROBE_SETTINGS",)),
    "maps": Protocol(
        "evaluate_maps",
        "a block of convolutions or two hidden layers on a layer's maps: RotNet's probes on CIFAR-10",
        ("PROBE_SETTINGS",),
        _OF_PROBES_ON_MAPS,
    ),
    "layers": Protocol("evaluate_layers", "logistic regression on the maps of every block"),
    "svm": Protocol("evaluate_svm", "a linear SVM per class on the maps of every block; of VOC 2007 by --voc07 FOLDER"),
    "finetune": Protocol(
        "evaluate_finetune", "the whole network trained further, by a paper's settings", ("FINE_TUNE_SETTINGS",)
    ),
}

_OF_THE_COMMAND = ("seed", "cache", "progress", "rows_file")
"""Arguments that are the same in every protocol, or that only Python gives."""

_NOT_CHANGED = {"PROBE_SETTINGS": ("source", "sweep"), "FINE_TUNE_SETTINGS": ("source", "batch_size")}
"""Fields that are for the record, and ``sweep``: several learning rates are given as such."""


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the result, and write it.

    Raises:
        UsageError: for a user's mistake.
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
    from sslbolts import evaluation
    from sslbolts._lightning import LightningDataModule
    from sslbolts.cli.shared import results, source
    from sslbolts.cli.shared.parser import Parser

    protocol = PROTOCOLS[name]
    function = getattr(evaluation, protocol.function)
    parser = Parser(
        f"sslbolts evaluate {name}",
        description=f"{protocol.summary[0].upper()}{protocol.summary[1:]}: "
        f"sslbolts evaluate {name} runs/demo/simclr.ckpt --data CIFAR10Mini",
    )
    source.add_source(parser)
    source.add_init(parser)
    source.add_data(parser, LightningDataModule)
    source.add_cache(parser)
    results.add_output(parser)
    tables = {table: getattr(evaluation, table) for table in protocol.settings}
    given = parser.add_options(function, skip=_OF_THE_COMMAND, tables=tables)
    changes: list[str] = []
    if protocol.settings:
        first = protocol.settings[0]
        kind = type(next(iter(tables[first].values())))
        known = set(kind.__dataclass_fields__)
        fields = protocol.fields or known - {*_NOT_CHANGED[first], *given}
        changes = parser.add_options(kind, skip=known - {*fields}, instead_of="values in place of the settings' own")
    config = parser.parse(arguments)
    results.check(config)

    encoder = source.encoder_of(config)
    voc07 = config.get("voc07")
    if voc07 is None:
        data = source.data_of(parser, config, encoder)
    else:
        if any(word.partition("=")[0].partition(".")[0] == "--data" for word in arguments):
            raise UsageError("--voc07 is data of its own: leave --data out.")
        data = None
    config.cache = source.cache_folder(config, encoder)
    encoder = source.drawn_anew(config, encoder, data if voc07 is None else _voc07(config, encoder))
    options = source.arguments_of(function, config, changes)
    if name == "few-label":
        options |= _few(config)
    result = function(encoder, data, **options)
    return results.finish(result, config, encoder, picture=_picture(name, result))


def _voc07(config: Any, encoder: "Encoder") -> Any:
    """Training images of PASCAL VOC 2007, if weights are drawn anew."""
    from sslbolts.evaluation.svm.run import voc07_images

    if config.init is None:
        return None
    known = {name: config[name] for name in ("image_size", "normalize", "download")}
    return voc07_images(encoder, config.voc07, **known)[0]


def _few(config: Any) -> dict[str, Any]:
    """A hundredth of the labels where nothing is said of them."""
    nothing = config.rows is None and config.fraction is None and config.per_class is None
    return {"fraction": 0.01} if nothing else {}


def _picture(name: str, result: "Result") -> "Figure | None":
    if name != "label-efficiency":
        return None
    from sslbolts.pictures.label_efficiency import draw_label_efficiency

    curves = {label: [row[f"{label} top1"] for row in result.rows] for label in ("self-supervised", "from scratch")}
    counts = [row["labels per class"] for row in result.rows]
    return draw_label_efficiency(counts, curves, title=f"{Path(result.source).name} on {result.data}")


def _help() -> str:
    width = max(map(len, PROTOCOLS))
    lines = [f"  {name:{width}}  {protocol.summary}" for name, protocol in PROTOCOLS.items()]
    return "\n".join(
        [
            "usage: sslbolts evaluate PROTOCOL SOURCE [--data NAME] [OPTIONS]",
            "",
            "How good a representation is. SOURCE is a checkpoint, an exported file, hf://OWNER/NAME, timm/NAME "
            "or torchvision/NAME.",
            "",
            *lines,
            "",
            "sslbolts evaluate PROTOCOL --help lists its options.",
        ]
    )
