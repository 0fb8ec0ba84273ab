"""``sslbolts evaluate layers``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]


def add_options(parser: Any) -> None:
    """Layers, learning rates and passes."""
    from sslbolts.evaluation.layers.maps import POOLED_VALUES
    from sslbolts.evaluation.layers.probe import LAYER_LRS

    parser.add_argument("--layers", type=str, nargs="+", default=None, help="of the backbone; default: all blocks")
    parser.add_argument("--lrs", type=float, nargs="+", default=list(LAYER_LRS), help="for 256 images per step")
    parser.add_argument("--epochs", type=int, default=28, help="passes over the images, or over their maps")
    parser.add_argument("--batch_size", type=int, default=256, help="images per device and step")
    parser.add_argument("--weight_decay", type=float, default=5e-4, help="of the weights")
    parser.add_argument("--map_values", type=int, default=POOLED_VALUES, help="kept of each map, about")
    parser.add_argument("--augment", action="store_true", help="random crops and flips: a pass of the images per epoch")
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that maps may take; less means more passes")
    parser.add_argument("--devices", type=int, default=1, help="devices that train")
    parser.add_argument("--precision", default="32-true", help="of the Trainer")


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """Logistic regression on every block."""
    from sslbolts.evaluation.layers.run import evaluate_layers

    return evaluate_layers(
        encoder,
        data,
        layers=config.layers,
        lrs=config.lrs,
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        values=config.map_values,
        augment=config.augment,
        memory=config.memory,
        devices=config.devices,
        precision=config.precision,
        seed=config.seed,
    )
