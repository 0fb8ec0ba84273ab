"""``sslbolts evaluate ridge``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]


def add_options(parser: Any) -> None:
    """The penalties."""
    from sslbolts.readouts import RIDGE_PENALTIES

    parser.add_argument(
        "--penalty", type=float, nargs="+", default=list(RIDGE_PENALTIES), help="candidates, per training image"
    )


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """Ridge."""
    from sslbolts.evaluation import evaluate_ridge

    return evaluate_ridge(encoder, data, penalties=config.penalty, cache=config.cache)
