"""``sslbolts evaluate finetune``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]

_CHANGES = (
    "epochs", "lr", "head_lr", "weight_decay", "layer_decay", "warmup_epochs", "mixup", "cutmix", "label_smoothing",
    "drop_path",
)  # fmt: skip


def add_options(parser: Any) -> None:
    """The settings, and values in place of their own."""
    from sslbolts.evaluation.fine_tuning.settings import FINE_TUNE_SETTINGS

    names = ", ".join(FINE_TUNE_SETTINGS)
    parser.add_argument("--settings", default="auto", help=f"auto (mae for vision transformers, else simclr), {names}")
    parser.add_argument("--epochs", type=int | None, default=None, help="passes; default: the settings' own")
    for name in _CHANGES[1:]:
        parser.add_argument(f"--{name}", type=float | None, default=None, help="default: the settings' own")
    parser.add_argument("--devices", type=int, default=1, help="devices that train")
    parser.add_argument("--precision", default="32-true", help="of the Trainer")
    parser.add_argument("--save", type=str | None, default=None, help="checkpoint of the trained network to write")


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """Fine-tuning."""
    from sslbolts.evaluation.fine_tuning.run import evaluate_finetune

    changes = {name: getattr(config, name) for name in _CHANGES if getattr(config, name) is not None}
    return evaluate_finetune(
        encoder,
        data,
        settings=config.settings,
        devices=config.devices,
        precision=config.precision,
        seed=config.seed,
        save=config.save,
        **changes,
    )
