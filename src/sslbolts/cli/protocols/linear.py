"""``sslbolts evaluate linear``, and the options of everything that is trained by a probe's recipe."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "add_recipe", "evaluate", "recipe_changes"]


def add_options(parser: Any) -> None:
    """The recipe."""
    add_recipe(parser, recipe="features", on="auto")


def add_recipe(parser: Any, *, recipe: str, on: str) -> None:
    """Which recipe, and what of it is changed.

    Args:
        parser: gets the options.
        recipe: the default.
        on: the default of what it trains on.
    """
    from sslbolts.evaluation import PROBE_RECIPES

    parser.add_argument("--recipe", default=recipe, help=f"one of {', '.join(PROBE_RECIPES)}")
    parser.add_argument(
        "--on", default=on, help="images (with the recipe's crops), features (computed once), or auto, by the recipe"
    )
    parser.add_argument("--lr", type=float, nargs="+", default=None, help="for 256 images; several train at once")
    parser.add_argument("--epochs", type=int | None, default=None, help="in place of the recipe's")
    parser.add_argument("--batch_size", type=int | None, default=None, help="in place of the recipe's")
    parser.add_argument("--weight_decay", type=float | None, default=None, help="in place of the recipe's")
    parser.add_argument("--norm", type=str | None, default=None, help="of features: none, batch_norm, standardize, l2")


def recipe_changes(config: Any) -> dict[str, Any]:
    """What the options say in place of the recipe's values."""
    names = ("epochs", "batch_size", "weight_decay", "norm")
    return {"lrs": config.lr, **{name: config[name] for name in names}}


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """The linear probe."""
    from sslbolts.evaluation import evaluate_linear

    return evaluate_linear(
        encoder,
        data,
        recipe=config.recipe,
        on=config.on,
        seed=config.seed,
        cache=config.cache,
        **recipe_changes(config),
    )
