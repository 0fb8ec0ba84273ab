"""What the protocols' modules have in common: they are judged on labelled images, each of them counted once."""

from typing import Any

from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.training.counts import RightCounts
from sslbolts.training.module import TrainingModule
from sslbolts.training.rows import first_loader

__all__ = ["LabelledEvaluation"]


class LabelledEvaluation(TrainingModule):
    """A module whose validation and test count right answers of the first loader, on any number of processes.

    A subclass says in :meth:`answers` which rows of a batch are right, and in :meth:`judge` what becomes of the shares.
    """

    _counts: RightCounts | None = None

    def answers(self, batch: Any) -> dict[str, Tensor]:
        """Right or wrong for each row of a batch: see :meth:`sslbolts.training.counts.RightCounts.add`."""
        raise NotImplementedError

    def judge(self, stage: str, shares: dict[str, Any]) -> None:
        """Take what share was right over all labelled images; ``stage`` is "val" or "test"."""
        for name, share in shares.items():
            self.log(f"{stage}/{name}", share, prog_bar=name == "top1")

    def on_validation_epoch_start(self) -> None:
        self._counts = RightCounts(first_loader(self.trainer.val_dataloaders))

    def on_test_epoch_start(self) -> None:
        self._counts = RightCounts(first_loader(self.trainer.test_dataloaders))

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Counts right answers of ``(images, targets, ...)``; of the first loader, where there are several."""
        if dataloader_idx == 0:
            assert self._counts is not None
            self._counts.add(batch, self.answers(batch))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self._judge("val")

    def on_test_epoch_end(self) -> None:
        self._judge("test")

    def _judge(self, stage: str) -> None:
        assert self._counts is not None
        shares, self._counts = self._counts.shares(), None
        if not shares:
            rank_zero_warn(f"{type(self).__name__} logs no accuracy for {stage}: none of the images has a label.")
            return
        self.judge(stage, shares)
