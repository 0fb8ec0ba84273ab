"""Self-supervised learning of image representations with PyTorch Lightning.

>>> from sslbolts import SimCLR
>>> from sslbolts.callbacks import KNNMonitor, OnlineLinearProbe
>>> from sslbolts.data import CIFAR10MiniDataModule
"""

from typing import Any

from sslbolts.errors import UsageError
from sslbolts.methods.registry import METHODS

__version__ = "0.1.0"
__all__ = ["METHODS", "SSLModule", "UsageError", "__version__", "export_backbone", "load_backbone", *METHODS]


def __getattr__(name: str) -> Any:
    # Methods are imported when they are asked for, so that importing sslbolts costs next to nothing.
    if name in METHODS or name == "SSLModule":
        import sslbolts.methods

        return getattr(sslbolts.methods, name)
    if name in ("export_backbone", "load_backbone"):
        import sslbolts.export

        return getattr(sslbolts.export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
