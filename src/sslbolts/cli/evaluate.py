"""``sslbolts evaluate PROTOCOL SOURCE``: how good a representation is, by one of the field's offline protocols."""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslbolts.cli.names import expand
from sslbolts.cli.source import (
    add_cache,
    add_data,
    add_output,
    add_source,
    cache_folder,
    check,
    data_of,
    encoder_of,
    result_file,
)
from sslbolts.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sslbolts.evaluation import Result

__all__ = ["PROTOCOLS", "Protocol", "main"]


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
    "linear": Protocol("sslbolts.cli.protocols.linear", "linear classifier by gradient, by a paper's settings"),
    "few-label": Protocol("sslbolts.cli.protocols.few_label", "a classifier from 1 %, 10 % or n labels per class"),
    "mlp": Protocol("sslbolts.cli.protocols.mlp", "classifier with one hidden layer"),
    "layers": Protocol("sslbolts.cli.protocols.layers", "logistic regression on the maps of every block"),
    "finetune": Protocol("sslbolts.cli.protocols.finetune", "the whole network trained further, by a paper's settings"),
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
    check(config)

    from rich.console import Console

    encoder = encoder_of(config)
    data = data_of(parser, config, encoder)
    config.cache = cache_folder(config, encoder)
    result: Result = protocol.evaluate(encoder, data, config)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # another process of the same run
        return 0
    console = Console()
    console.print(result.table())
    if 0 < len(result.rows) <= _MOST_ROWS:
        console.print(result.rows_table())
    print(f"wrote {result.save(result_file(result, config, encoder))}")
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
    add_source(parser)
    add_data(parser, LightningDataModule)
    add_cache(parser)
    add_output(parser)
    return parser


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
