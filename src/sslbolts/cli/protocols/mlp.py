"""``sslbolts evaluate mlp``."""

from typing import TYPE_CHECKING, Any

from sslbolts.cli.protocols.linear import add_settings, settings_changes

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]


def add_options(parser: Any) -> None:
    """The settings and the hidden layer."""
    add_settings(parser, settings="amdim", on="features")
    parser.add_argument("--hidden_dim", type=int, default=1024, help="width of the hidden layer")
    parser.add_argument("--dropout", type=float, default=0.2, help="before both layers")


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """The MLP probe."""
    from sslbolts.evaluation import evaluate_mlp

    return evaluate_mlp(
        encoder,
        data,
        settings=config.settings,
        hidden_dim=config.hidden_dim,
        dropout=config.dropout,
        on=config.on,
        seed=config.seed,
        cache=config.cache,
        **settings_changes(config),
    )
