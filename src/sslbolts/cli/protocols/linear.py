"""``sslbolts evaluate linear``, and the options of everything that is trained by a probe's settings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "add_settings", "evaluate", "settings_changes"]


def add_options(parser: Any) -> None:
    """The settings."""
    add_settings(parser, settings="features", on="auto")


def add_settings(parser: Any, *, settings: str, on: str) -> None:
    """Which settings, and what of them is changed.

    Args:
        parser: gets the options.
        settings: the default.
        on: the default of what it trains on.
    """
    from sslbolts.evaluation import PROBE_SETTINGS

    parser.add_argument("--settings", default=settings, help=f"one of {', '.join(PROBE_SETTINGS)}")
    parser.add_argument(
        "--on", default=on, help="images (with the settings' crops), features (computed once), or auto, as they say"
    )
    parser.add_argument("--lr", type=float, nargs="+", default=None, help="for 256 images; several train at once")
    parser.add_argument("--epochs", type=int | None, default=None, help="in place of the settings' own")
    parser.add_argument("--batch_size", type=int | None, default=None, help="in place of the settings' own")
    parser.add_argument("--weight_decay", type=float | None, default=None, help="in place of the settings' own")
    parser.add_argument("--norm", type=str | None, default=None, help="of features: none, batch_norm, standardize, l2")


def settings_changes(config: Any) -> dict[str, Any]:
    """What the options say in place of the settings' own values."""
    names = ("epochs", "batch_size", "weight_decay", "norm")
    return {"lrs": config.lr, **{name: config[name] for name in names}}


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """The linear probe."""
    from sslbolts.evaluation import evaluate_linear

    return evaluate_linear(
        encoder,
        data,
        settings=config.settings,
        on=config.on,
        seed=config.seed,
        cache=config.cache,
        **settings_changes(config),
    )
