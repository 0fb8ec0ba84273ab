"""``sslbolts transfer``: logistic regression on frozen features of many data sets, beside the published table."""

from collections.abc import Sequence

from sslbolts.cli.parser import Parser
from sslbolts.cli.source import add_output, add_source, check, encoder_of, result_file
from sslbolts.errors import UsageError

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Measure, print, and write the result.

    Raises:
        UsageError: for a user's mistake.
    """
    parser = Parser(
        prog="sslbolts transfer",
        description="Logistic regression on frozen features of many data sets, as SimCLR's table has it: "
        "sslbolts transfer runs/demo/simclr.ckpt --datasets DTD Flowers102 --root data. "
        "What is not there is skipped and named.",
    )
    add_source(parser)
    parser.add_argument("--datasets", nargs="+", default=["all"], help="names of data sets (default: all)")
    parser.add_argument("--root", default="data", help="folder with the data sets (default: %(default)s)")
    parser.add_argument("--download", action="store_true", help="fetch what is not there")
    parser.add_argument(
        "--image_size", type=int, default=None, help="side in pixels (default: as in training where known, else 224)"
    )
    parser.add_argument("--normalize", default="auto", help="auto (as in training), imagenet or none")
    parser.add_argument("--batch_size", type=int, default=64, help="images at a time (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read (default: %(default)s)")
    parser.add_argument("--cache", default=None, help="folder in which features are kept")
    add_output(parser)
    arguments = parser.parse_args(argv)
    check(arguments)
    for name, least in (("image_size", 1), ("batch_size", 1), ("num_workers", 0)):
        if (given := getattr(arguments, name)) is not None and given < least:
            raise UsageError(f"--{name} {given}: it must be at least {least}.")

    from rich.console import Console

    from sslbolts.evaluation.result import format_setting
    from sslbolts.evaluation.transfer.run import evaluate_transfer
    from sslbolts.evaluation.transfer.sets import transfer_set

    if arguments.datasets != ["all"]:  # a wrong name is told before weights are loaded
        arguments.datasets = [transfer_set(name).name for name in arguments.datasets]
    encoder = encoder_of(arguments)
    result = evaluate_transfer(
        encoder,
        arguments.datasets,
        root=arguments.root,
        download=arguments.download,
        image_size=arguments.image_size,
        normalize=arguments.normalize,
        cache=arguments.cache,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        seed=arguments.seed,
    )
    console = Console()
    console.print(f"transfer: {result.source}", style="bold", highlight=False, markup=False)
    console.print(result.rows_table())
    for name, setting in result.settings.items():
        console.print(f"{name}: {format_setting(setting)}", style="dim", highlight=False, markup=False)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
    print(f"wrote {result.save(result_file(result, arguments, encoder))}")
    return 0
