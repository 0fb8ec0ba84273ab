"""``sslbolts transfer``: many data sets, by logistic regression on frozen features or by fine-tuning."""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Measure, print, and write the result.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.cli.shared import results, source
    from sslbolts.cli.shared.parser import Parser
    from sslbolts.evaluation import FINE_TUNE_SETTINGS, evaluate_transfer
    from sslbolts.evaluation.transfer.sets import TRANSFER_SETS, transfer_set

    parser = Parser(
        "sslbolts transfer",
        description="Logistic regression on frozen features of many data sets, as SimCLR's table has it: "
        "sslbolts transfer runs/demo/simclr.ckpt --datasets DTD Flowers102 --root data. "
        "What is not there is skipped and named. With --fine-tune, the whole network is trained on each.",
    )
    source.add_source(parser)
    results.add_output(parser)
    parser.add_argument(
        "--fine-tune",
        "--fine_tune",
        action="store_true",
        help="train the whole network on every data set, and the same network from random weights beside it",
    )
    tables = {"TRANSFER_SETS": TRANSFER_SETS, "FINE_TUNE_SETTINGS": FINE_TUNE_SETTINGS}
    parser.add_options(evaluate_transfer, skip=("penalties", "seed", "fine_tune"), tables=tables)
    parser.set_defaults(num_workers=2)
    config = parser.parse(argv)
    results.check(config)

    for name in config.datasets if config.datasets != ["all"] else ():
        transfer_set(name)  # a wrong name is told before weights are loaded
    encoder = source.encoder_of(config)
    result = evaluate_transfer(encoder, **source.arguments_of(evaluate_transfer, config))
    return results.finish(result, config, encoder, [result.rows_table(title=f"transfer: {result.source}")])
