"""The linear probe that trains beside the network."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer, rank_zero_warn
from sslbolts.callbacks.shared.accuracies import precision_of_all
from sslbolts.callbacks.shared.features import FeatureFunction, agreed_width
from sslbolts.callbacks.shared.linear_heads import LinearHeads
from sslbolts.callbacks.shared.queries import QueryMonitor
from sslbolts.checks import at_least, is_number, whole
from sslbolts.checks.multi_hot import check_values, has_label
from sslbolts.distributed import all_sum
from sslbolts.errors import UsageError
from sslbolts.training.facts import is_new_run
from sslbolts.training.logs import drop_metrics, log_reduced

__all__ = ["OnlineLinearProbe"]

_TOP5_FROM = 20  # classes


class OnlineLinearProbe(QueryMonitor):
    """Linear classifiers on the features of any module, trained while it trains, without touching it.

    Each training batch gives one step of softmax regression on the features that the module's own ``training_step``
    computed: a forward hook reads them, detached, so there is no further forward pass. With gradient accumulation every
    micro-batch gives a step, since each brings new images. Several learning rates train at once, and the best is
    reported. Nothing of it enters the module's parameters, optimizer, gradient clipping or DDP reducer, it draws no
    random number, and the host never waits for the device. The heads are
    :class:`~sslbolts.callbacks.shared.linear_heads.LinearHeads`.

    Logged, equal on all ranks: ``probe/top1`` at the end of validation, with the learning rate that is best on these
    images; ``test/probe/top1`` of testing, with the one that the last validation has chosen (where there was none, the
    one best on the test images themselves, which a warning says); ``probe/train_top1`` at the end of the epoch, over
    its batches before each was learned from; ``top5`` beside them from 20 classes on. ``probe`` is ``name``.

    Where an image may show several classes (``multi_label``), the heads are logistic regressions, one for each class,
    trained by binary cross-entropy, and logged is the mean average precision, ``probe/map``: over the classes that some
    image shows, since a class without any has no precision. There is no number of training then: scores of heads that
    change from batch to batch cannot be ranked.

    A fit that continues no other starts with new heads.

    Args:
        num_classes: number of classes; None takes the DataModule's.
        features: name of the submodule whose output is probed, or a callable ``(module, batch, outputs) -> (rows, D)``
            with what ``training_step`` (in evaluation ``validation_step``) returned. Maps and tokens are averaged. If
            there are several rows per label, view after view, each view has the labels. A callable finds the module in
            eval mode, and leaves modes and random states as they were; where it gives None, as where a step does not
            run the submodule, the batch is left out.
        targets: callable ``batch -> (B,)``; None knows ViewBatch, ``(x, y, ...)`` and mappings. Label -1 is left out.
        lrs: learning rates, for standardized features.
        weight_decay: of the probe's weights.
        name: prefix of the metrics, and the key of the state in checkpoints: two probes need two names.
        every_n_batches: train on each n-th batch only.
        multi_label: whether labels are rows ``(B, num_classes)`` of 1, 0, and -1 for what is not known; None is what
            the DataModule declares, else False. Rows with a single 1 are class numbers then.

    Raises:
        UsageError: for a value out of range; when fit starts, for the name of no submodule, or a DataModule that does
            not know its classes; in the first batch, for features that do not fit the labels; in the first batch or at
            the end of the epoch, for labels of no class.

    Example:
        >>> OnlineLinearProbe(num_classes=10, features="encoder.layer4").state_key
        "OnlineLinearProbe{'name': 'probe'}"
    """

    def __init__(
        self,
        num_classes: int | None = None,
        features: str | FeatureFunction = "backbone",
        targets: Callable[[Any], Tensor] | None = None,
        *,
        lrs: Sequence[float] = (0.003, 0.01, 0.03, 0.1),
        weight_decay: float = 0.0,
        name: str = "probe",
        every_n_batches: int = 1,
        multi_label: bool | None = None,
    ) -> None:
        whole(2, num_classes=num_classes)
        if not lrs or not all(is_number(lr) and lr > 0 for lr in lrs):
            raise UsageError(f"lrs={tuple(lrs)}: at least one learning rate is needed, and all must be positive.")
        at_least(0, weight_decay=weight_decay)
        whole(every_n_batches=every_n_batches)
        if not name:
            raise UsageError("name is empty: it is the prefix of the probe's metrics.")
        super().__init__(name, features, targets, multi_label=multi_label)
        self._of_data = num_classes is None
        self.num_classes = num_classes or 0  # which setup replaces
        self.lrs = tuple(lrs)
        self.weight_decay = weight_decay
        self.every_n_batches = every_n_batches
        self.accuracies: dict[float, float] = {}
        """Top-1 accuracy (with ``multi_label`` mean average precision) of each learning rate at the last evaluation."""
        self._heads: LinearHeads | None = None
        self._train_counts: Tensor | None = None  # of all ranks, see LinearHeads.step
        self._chosen: int | None = None  # the head that was best in the last validation
        self._checked = False
        self._right: list[Tensor] = []  # (rows, 2, heads): among the first, among the first five
        self._labeled: list[Tensor] = []
        self._scores: list[tuple[Tensor, Tensor, Tensor]] = []  # of several classes: logits, labels, whether finite

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self.name)

    # ------------------------------------------------------------------ training

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._of_data:
            data = trainer.datamodule  # type: ignore[attr-defined]
            try:
                classes = getattr(data, "num_classes", None)
            except UsageError as error:
                raise UsageError(f"{type(self).__name__} needs labels, but {error}") from error
            if not isinstance(classes, int) or classes < 2:
                raise UsageError(
                    f"{self.name}: num_classes= was not given, and {type(data).__name__} has none: give the number of "
                    "classes."
                )
            self.num_classes = classes

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_new_run(trainer):
            self._heads = self._train_counts = self._chosen = None
            self.accuracies = {}
        self._reader.check(pl_module)
        self._checked = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        trained = batch_idx % self.every_n_batches == 0
        self._reader.start(pl_module, recording=trained)
        if trained:
            self.step_begins(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        # Activation checkpointing runs modules again in the backward pass. Under manual optimization there may be
        # further forward passes after a first backward, so recording goes on.
        if pl_module.automatic_optimization:
            self._reader.pause()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % self.every_n_batches:
            self._reader.detach()
            return
        _, targets = self.step_ended(batch)
        found = self._reader.training_features(trainer, pl_module, batch, outputs)
        if self._heads is None and not (width := agreed_width(found[0] if found else None, pl_module.device)):
            return  # it has run on no rank
        if not found:  # here; other ranks do not wait
            width = self._heads.width if self._heads is not None else width
            found, targets = [torch.empty(0, width, device=pl_module.device)], targets[:0]
        features = torch.cat(found)
        if len(features) % max(1, len(targets)):
            raise UsageError(
                f'{self.name}: the features "{self.features}" have {len(features)} rows and the batch has '
                f"{len(targets)} labels: the rows must be the labels' number, or that for each view, view after view. "
                "Pass features= or targets= a callable."
            )
        views = len(features) // max(1, len(targets))
        targets = targets.to(features.device)
        targets = targets.repeat(views, 1) if self.multi_label else targets.repeat(views)
        self._check(targets)
        heads = self._heads_for(features)
        with torch.autocast(features.device.type, enabled=False):
            counts = heads.step(features, targets)
        self._train_counts = counts if self._train_counts is None else self._train_counts.to(counts.device) + counts

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._reader.never_ran(pl_module.device):
            self._train_counts = None
            self.say(
                f'no training step of an epoch ran "{self.features}", so the probe learned nothing: name a submodule '
                "that training_step runs, or pass features= a callable (module, batch, outputs) -> features."
            )
        if self._train_counts is None:
            return
        labeled, *right, rows, beyond = self._train_counts.tolist()
        self._train_counts = None
        if beyond and self.multi_label:
            raise UsageError(
                f"{self.name}: {beyond} rows of labels of this epoch hold other numbers than 1, 0, and -1 for what is "
                "not known."
            )
        if beyond:
            raise UsageError(
                f"{self.name}: {beyond} labels of this epoch are {self.num_classes} or more, but num_classes="
                f"{self.num_classes}: labels are 0 to num_classes - 1, and -1 for none."
            )
        if rows:
            if not self.multi_label:
                log_reduced(pl_module, {f"{self.name}/train_top1": max(right) / rows})
            return
        drop_metrics(trainer, [f"{self.name}/train_top1"])
        if labeled:
            rank_zero_warn(
                f"{self.name}: features of all {labeled:,} labeled training images of this epoch are NaN or infinite, "
                "so the probe learns nothing: the network has diverged (a smaller learning rate, or a longer warm-up)."
            )
        else:
            rank_zero_warn(
                f"{self.name}: no training image of this epoch had a label (all are -1), so the probe learns nothing: "
                "take it out, or use labeled data."
            )

    def _check(self, targets: Tensor) -> None:
        """Once per fit, since looking at a value makes the host wait; later labels are judged after the epoch."""
        if self.multi_label and targets.shape[1] != self.num_classes:
            raise UsageError(
                f"{self.name}: labels are rows of {targets.shape[1]} classes, but num_classes={self.num_classes}."
            )
        if self.multi_label and not self._checked:
            self._checked = True
            check_values(targets)
        if not self._checked and len(targets):
            self._checked = True
            if (largest := int(targets.max())) >= self.num_classes:
                raise UsageError(
                    f"{self.name}: the batch has label {largest} but num_classes={self.num_classes}: labels are 0 to "
                    "num_classes - 1, and -1 for none."
                )

    def _heads_for(self, features: Tensor) -> LinearHeads:
        width = features.shape[1]
        if self._heads is None:
            self._heads = LinearHeads(
                width,
                self.num_classes,
                self.lrs,
                weight_decay=self.weight_decay,
                device=features.device,
                several=self.multi_label,
            )
        if self._heads.width != width:
            raise UsageError(
                f"{self.name}: the features have width {width}, and the probe was trained on {self._heads.width}: "
                "training and evaluation must give the same features."
            )
        return self._heads.to(features.device)

    # ------------------------------------------------------------------ evaluation

    def due(self, trainer: Trainer) -> bool:
        if self._heads is None:
            rank_zero_warn(
                f"{self.name} has not been trained, so there is nothing to evaluate: fit, or give ckpt_path=."
            )
        return self._heads is not None

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        with torch.autocast(features.device.type, enabled=False):
            logits = self._heads_for(features).logits(features)
        if self.multi_label:
            self._scores.append((logits, targets, features.isfinite().all(1)))
            return
        best = logits.topk(min(5, self.num_classes), dim=2).indices == targets[:, None, None]  # (rows, heads, 5)
        best &= features.isfinite().all(1)[:, None, None]  # by chance, NaN would be right at times
        self._right.append(torch.stack([best[..., 0], best.any(2)], 1))
        self._labeled.append(targets >= 0)

    def report(self, trainer: Trainer, pl_module: LightningModule, first_seen: Tensor, *, prefix: str) -> None:
        if self.multi_label:
            self._report_precision(trainer, pl_module, first_seen, prefix=prefix)
            return
        nothing = torch.empty(0, dtype=torch.bool, device=first_seen.device)
        counted = first_seen & torch.cat([*self._labeled, nothing])
        right = torch.cat([*self._right, nothing.new_empty(0, 2, len(self.lrs))])[counted].sum(0)  # (2, heads)
        *hits, rows = all_sum(torch.cat([right.flatten(), counted.sum()[None]])).tolist()
        if not rows:
            rank_zero_warn(f"{self.name}: no evaluation image has a label (all are -1): nothing is logged.")
            drop_metrics(trainer, [f"{prefix}{self.name}/top1", f"{prefix}{self.name}/top5"])
            return
        top1, top5 = hits[: len(self.lrs)], hits[len(self.lrs) :]
        self.accuracies = {lr: count / rows for lr, count in zip(self.lrs, top1)}
        chosen = self._best(top1, prefix)
        values = {f"{prefix}{self.name}/top1": top1[chosen] / rows}
        if self.num_classes >= _TOP5_FROM:
            values[f"{prefix}{self.name}/top5"] = top5[chosen] / rows
        log_reduced(pl_module, values, prog_bar=(f"{self.name}/top1",))

    def _report_precision(self, trainer: Trainer, pl_module: LightningModule, seen: Tensor, *, prefix: str) -> None:
        empty = torch.empty(0, len(self.lrs), self.num_classes, device=seen.device)
        none = (empty, empty[:, 0], seen[:0])  # of a rank without a batch
        logits, targets, finite = (torch.cat(part) for part in zip(*(self._scores or [none])))
        counted = seen & has_label(targets)
        found = [
            precision_of_all(logits[counted, head], targets[counted], finite=finite[counted])
            for head in range(len(self.lrs))
        ]
        reached = [value for value in found if value is not None]
        if not reached:
            rank_zero_warn(f"{self.name}: no evaluation image has a label (all are -1): nothing is logged.")
            drop_metrics(trainer, [f"{prefix}{self.name}/map"])
            return
        self.accuracies = dict(zip(self.lrs, reached))
        value = reached[self._best(reached, prefix)]
        log_reduced(pl_module, {f"{prefix}{self.name}/map": value}, prog_bar=(f"{self.name}/map",))

    def _best(self, reached: Sequence[float], prefix: str) -> int:
        """Which head is reported: the best one in validation, which from then on is the chosen one."""
        chosen = max(range(len(reached)), key=lambda head: reached[head])
        if not prefix:
            self._chosen = chosen
        elif self._chosen is not None:
            chosen = self._chosen
        elif len(self.lrs) > 1:
            rank_zero_warn(
                f"{self.name}: there was no validation, so the best of {len(self.lrs)} learning rates is chosen on the "
                "test images themselves: validate first, or give one learning rate, for a clean number."
            )
        return chosen

    def forget(self) -> None:
        self._right, self._labeled, self._scores = [], [], []

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The heads with their momentum and statistics, the chosen one, and what the epoch has counted."""
        if self._heads is None:
            return {}
        return {"heads": self._heads.state_dict(), "train_counts": self._train_counts, "chosen": self._chosen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state, unless it is that of other classes or learning rates."""
        state = state_dict["heads"]
        if state["classes"] != self.num_classes or tuple(state["lrs"]) != self.lrs:
            rank_zero_warn(
                f"{self.name}: the checkpoint's probe has {state['classes']} classes and lrs={tuple(state['lrs'])}, "
                f"but this one {self.num_classes} and {self.lrs}: it starts afresh."
            )
            return
        if state.get("several", False) != self.multi_label:
            other = "several classes per image" if state.get("several", False) else "one class per image"
            rank_zero_warn(f"{self.name}: the checkpoint's probe is of {other}, and this one is not: it starts afresh.")
            return
        self._heads = LinearHeads.from_state(state, weight_decay=self.weight_decay)
        counts = state_dict["train_counts"]
        self._train_counts = counts if counts is not None and len(counts) == len(self.lrs) + 3 else None
        self._chosen = state_dict["chosen"]
