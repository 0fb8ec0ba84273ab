"""Shares of right answers on evaluation images, and areas under their ROC curves, on any number of processes."""

from typing import Any

import torch
from torch import Tensor

from sslbolts.batch import targets_of
from sslbolts.checks.devices import with_float64
from sslbolts.distributed import gather_objects
from sslbolts.readouts.auc import area_under_roc
from sslbolts.training.rows import EvaluationRows

__all__ = ["RightCounts"]


class RightCounts:
    """Shares of right answers over an evaluation, whose batches come one by one; each image counts once.

    Args:
        loader: the evaluation loader, which tells which images a distributed sampler repeats; None without one.

    Example:
        >>> counts = RightCounts()
        >>> batch = (torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, -1]), torch.arange(3))
        >>> counts.add(batch, {"top1": torch.tensor([True, False, True])})
        >>> counts.shares()
        {'top1': 0.5}
    """

    def __init__(self, loader: Any = None) -> None:
        self._rows = EvaluationRows(loader)
        self._values: dict[str, list[Tensor]] = {}
        self._margins: list[Tensor] = []
        self._targets: list[Tensor] = []

    def add(self, batch: Any, values: dict[str, Tensor], margins: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            batch: as the loader gave it; rows with label -1 do not count.
            values: ``(B,)`` or ``(B, M)`` of each metric: right or wrong, or any number to be averaged.
            margins: ``(B,)`` or ``(B, M)`` of two classes: how much more likely the second is; see :meth:`areas`.
        """
        targets = targets_of(batch)
        self._rows.add(batch, len(targets))
        self._targets.append(targets)
        if margins is not None:
            self._margins.append(margins)
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def shares(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """Mean of each metric over all labeled images of all processes: a float, or a list for ``(B, M)``.

        All processes must call it, also one without a batch. Without a labeled image: an empty dictionary.

        Args:
            device: of the values, which a process without a batch does not know.
        """
        counted = with_float64(self._counted(device)).double()
        sums = {"": counted.sum().tolist()}
        for name, values in self._values.items():
            columns = with_float64(torch.cat(values)).double()
            weights = counted if columns.dim() == 1 else counted[:, None]
            sums[name] = (columns * weights).sum(0).tolist()
        everybody = gather_objects(sums)
        total = sum(found[""] for found in everybody)
        names = dict.fromkeys(name for found in everybody for name in found if name)
        means = {}
        for name in names if total > 0 else ():
            found = torch.tensor([sums[name] for sums in everybody if name in sums], dtype=torch.float64)
            means[name] = (found.sum(0) / total).tolist()
        return means

    def areas(self, device: torch.device | str = "cpu") -> Any:
        """Area under the ROC curve of the margins of all labeled images of all processes: a float, or a list.

        All processes must call it, also one without a batch. None without margins, where some are no numbers, or where
        all images are of one class.

        Args:
            device: of the values, which a process without a batch does not know.
        """
        counted = self._counted(device).cpu()
        mine = None
        if self._margins:
            mine = torch.cat(self._margins).float().cpu()[counted], torch.cat(self._targets).cpu()[counted]
        parts = [found for found in gather_objects(mine) if found is not None]
        if not parts:
            return None
        margins, targets = (torch.cat(column) for column in zip(*parts))
        if margins.isnan().any():
            return None
        areas = [area_under_roc(column, targets) for column in margins.reshape(len(targets), -1).T]
        if None in areas:
            return None
        return areas[0] if margins.dim() == 1 else areas

    def _counted(self, device: torch.device | str) -> Tensor:
        """``(rows of this process,)`` bool: True for labeled images that no earlier row shows; a collective."""
        targets = torch.cat(self._targets or [torch.empty(0, dtype=torch.int64, device=device)])
        return (targets >= 0) & self._rows.first_seen(targets.device)
