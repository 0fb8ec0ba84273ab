"""The only place that imports Lightning, which exists under two names.

``lightning.pytorch`` is used where the application has already imported it, or where the environment variable
``SSLBOLTS_LIGHTNING`` is ``lightning``; otherwise ``pytorch_lightning``. The two do not mix: a callback of one is
refused by the Trainer of the other.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from sslbolts.errors import UsageError

__all__ = [
    "LIGHTNING",
    "Callback",
    "LightningDataModule",
    "LightningModule",
    "MisconfigurationException",
    "Trainer",
    "lightning_module",
    "rank_zero_info",
    "rank_zero_warn",
    "seed_everything",
]


def _choose() -> str:
    wish = os.environ.get("SSLBOLTS_LIGHTNING")
    if wish is not None:
        names = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
        if wish not in names:
            raise UsageError(f"SSLBOLTS_LIGHTNING={wish!r}: it must be one of {', '.join(names)}, or unset.")
        return names[wish]
    if "lightning.pytorch" in sys.modules and "pytorch_lightning" not in sys.modules:
        return "lightning.pytorch"
    return "pytorch_lightning"


LIGHTNING = _choose()
"""``"pytorch_lightning"`` or ``"lightning.pytorch"``: the package that sslbolts' classes derive from."""


def lightning_module(name: str) -> Any:
    """A module of the Lightning in use, e.g. ``lightning_module("cli")``.

    Example:
        >>> lightning_module("callbacks").__name__.endswith("callbacks")
        True
    """
    return importlib.import_module(f"{LIGHTNING}.{name}")


if TYPE_CHECKING:
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
    from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
else:
    _root = importlib.import_module(LIGHTNING)
    Callback = _root.Callback
    LightningDataModule = _root.LightningDataModule
    LightningModule = _root.LightningModule
    Trainer = _root.Trainer
    seed_everything = _root.seed_everything
    _utilities = lightning_module("utilities")
    rank_zero_info = _utilities.rank_zero_info
    rank_zero_warn = _utilities.rank_zero_warn
    MisconfigurationException = lightning_module("utilities.exceptions").MisconfigurationException
