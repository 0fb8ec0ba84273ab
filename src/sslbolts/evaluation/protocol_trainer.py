"""The Trainer of a protocol: it logs nowhere, writes nothing, and shows a progress bar."""

from typing import Any

import torch

from sslbolts._lightning import Trainer
from sslbolts.errors import UsageError

__all__ = ["protocol_trainer"]


def protocol_trainer(device: torch.device, *, devices: int = 1, precision: str = "32-true", **settings: Any) -> Trainer:
    """A Trainer on a kind of device.

    Args:
        device: whose kind is used.
        devices: how many.
        precision: e.g. "16-mixed".
        **settings: further arguments of the Trainer.

    Raises:
        UsageError: for fewer than one device.

    Example:
        >>> protocol_trainer(torch.device("cpu"), max_epochs=1, enable_progress_bar=False).max_epochs
        1
    """
    if devices < 1:
        raise UsageError(f"devices={devices}: at least one is needed.")
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "accelerator": "gpu" if device.type == "cuda" else device.type,
    }
    return Trainer(devices=devices, precision=precision, **{**quiet, **settings})  # type: ignore[arg-type]
