"""A LightningModule whose progress bar does not make the host wait for the device."""

from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule

__all__ = ["LateBarModule"]


class LateBarModule(LightningModule):
    """Shows a training step's values on the progress bar when they arrive, instead of waiting for them.

    Lightning reads what it logs for the progress bar at once and in every step, also where there is no bar: a GPU then
    never gets work ahead of time. Here ``self.log(name, value, prog_bar=True)`` logs the value in full, and gives the
    bar a copy that arrives when the device comes to it, a step or so later, under the last part of its name:
    ``train/loss`` is shown as ``loss``. The first step of a run shows nothing.

    Example:
        >>> class Module(LateBarModule):
        ...     def training_step(self, batch, batch_idx):
        ...         loss = batch[0].mean() * self.weight
        ...         self.log("train/loss", loss, prog_bar=True)
        ...         return loss
    """

    def log(self, name: str, value: Any, prog_bar: bool = False, *args: Any, **options: Any) -> None:
        """See ``LightningModule.log``."""
        late = prog_bar and isinstance(value, Tensor) and self._trainer is not None and self.trainer.training
        super().log(name, value, prog_bar and not late, *args, **options)
        if late:
            self._show(name, value.detach().squeeze())

    def _show(self, name: str, value: Tensor) -> None:
        arrived: dict[str, Tensor] = self.__dict__.setdefault("_arrived", {})
        if name in arrived:
            last = name.rpartition("/")[2]
            super().log(f"{name}_step" if last == name else last, arrived[name], prog_bar=True, logger=False)
        else:
            arrived[name] = torch.zeros((), dtype=value.dtype, pin_memory=value.is_cuda)
        arrived[name].copy_(value, non_blocking=True)
