"""A module that is evaluated on labeled images, each of them counted once on any number of processes."""

from typing import Any

from torch import Tensor

from sslbolts._lightning import LightningModule, rank_zero_warn
from sslbolts.errors import UsageError
from sslbolts.training.counts import RightCounts
from sslbolts.training.logs import log_reduced
from sslbolts.training.module import TrainingModule
from sslbolts.training.rows import first_loader

__all__ = ["LabeledEvaluation", "check_classes"]


class LabeledEvaluation(TrainingModule):
    """A module whose validation and test count right answers of the first loader, on any number of processes.

    A subclass tells in :meth:`answers` the rows of a batch that are right, and in :meth:`report` takes their shares.
    """

    _counts: RightCounts | None = None

    def answers(self, batch: Any) -> dict[str, Tensor]:
        """Right or wrong for each row of a batch: see :meth:`sslbolts.training.counts.RightCounts.add`.

        Under the name ``finite``, where it is given, the rows that have an answer at all: finite scores. Under
        ``margin``, of two classes, how much more likely the second is: its ROC curve's area is reported as ``auc``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define answers(batch).")

    def report(self, stage: str, shares: dict[str, Any]) -> None:
        """Take what share was right over all labeled images; ``stage`` is "val" or "test".

        Raises:
            UsageError: see :meth:`judge`.
        """
        self.judge(stage, shares.pop("finite", 1.0))
        values = {f"{stage}/{name}": share for name, share in shares.items()}
        log_reduced(self, values, prog_bar=(f"{stage}/top1",))

    def judge(self, stage: str, finite: float) -> None:
        """Say it if only a share of the images has finite scores. The others count as wrong.

        Raises:
            UsageError: in testing, whose numbers are final.
        """
        if finite == 1:
            return
        said = (
            f"{type(self).__name__} gives scores that are not finite for {100 * (1 - finite):.3g} % of the images of "
            f"{stage}: the network, or the training of what reads it, has diverged."
        )
        if stage == "test":
            raise UsageError(said)
        rank_zero_warn(said)

    def count(self, batch: Any, answers: dict[str, Tensor]) -> None:
        """Counts the answers of a batch ``(images, targets, ...)``, if an evaluation is under way."""
        if self._counts is not None:
            self._counts.add(batch, {k: v for k, v in answers.items() if k != "margin"}, answers.get("margin"))

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if getattr(data, "multi_label", False):
            raise UsageError(
                f"{type(self).__name__} takes one label per image, but {type(data).__name__} has multi_label=True: its "
                f"labels are rows (B, {getattr(data, 'num_classes', 'C')})."
            )

    def on_validation_epoch_start(self) -> None:
        self._counts = RightCounts(first_loader(self.trainer.val_dataloaders))

    def on_test_epoch_start(self) -> None:
        self._counts = RightCounts(first_loader(self.trainer.test_dataloaders))

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Counts right answers of ``(images, targets, ...)``; of the first loader, where there are several."""
        if dataloader_idx == 0:
            self.count(batch, self.answers(batch))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self._end("val")

    def on_test_epoch_end(self) -> None:
        self._end("test")

    def _end(self, stage: str) -> None:
        shares = {} if self._counts is None else self._counts.shares(self.device)
        area = None if self._counts is None else self._counts.areas(self.device)
        self._counts = None
        shares |= {} if area is None else {"auc": area}
        if shares:
            self.report(stage, shares)
        else:
            rank_zero_warn(f"{type(self).__name__} logs no accuracy for {stage}: none of the images has a label.")


def check_classes(module: LightningModule, num_classes: int, stage: str) -> None:
    """Refuse data of more classes than a class head has, before training.

    Args:
        module: of a Trainer.
        num_classes: of its class head.
        stage: "fit", or another, in which nothing is refused.

    Raises:
        UsageError: says both numbers.
    """
    classes = getattr(getattr(module.trainer, "datamodule", None), "class_names", None)
    if stage == "fit" and classes is not None and len(classes) > num_classes:
        raise UsageError(
            f"the data has {len(classes)} classes, but num_classes={num_classes}: give num_classes={len(classes)}."
        )
