"""``sslbolts evaluate few-label``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]


def add_options(parser: Any) -> None:
    """Which labels, and what is made of them."""
    parser.add_argument("--fraction", type=float | None, default=None, help="of every class; default: 0.01")
    parser.add_argument("--per_class", type=int | None, default=None, help="labelled images of every class")
    parser.add_argument("--indices", type=str | None, default=None, help="file with the rows of the labelled images")
    parser.add_argument("--classifier", default="logistic", help="logistic, linear (on features) or finetune")
    parser.add_argument("--settings", type=str | None, default=None, help="of linear and finetune")
    parser.add_argument(
        "--epochs", type=int | None, default=None, help="of linear and finetune: in place of the settings' own"
    )
    parser.add_argument("--lr", type=float | None, default=None, help="as --epochs")


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """The classifier from few labels; the list of images stands beside the result."""
    from sslbolts.evaluation import evaluate_few_label
    from sslbolts.evaluation.features import data_name
    from sslbolts.evaluation.result import result_path

    none = config.fraction is None and config.per_class is None and config.indices is None
    fraction = 0.01 if none else config.fraction
    listed = None
    if config.indices is None:
        amount = f"{100 * fraction:g}pct" if fraction is not None else f"{config.per_class}-per-class"
        name = f"labels-{amount}-seed{config.seed}"
        listed = (
            Path(config.output).with_suffix(".txt")
            if config.output
            else result_path(encoder.source, name, data_name(data)).with_suffix(".txt")
        )
    return evaluate_few_label(
        encoder,
        data,
        fraction=fraction,
        per_class=config.per_class,
        rows=config.indices,
        rows_file=listed,
        classifier=config.classifier,
        settings=config.settings,
        seed=config.seed,
        cache=config.cache,
        **{name: config[name] for name in ("epochs", "lr") if config[name] is not None},
    )
