"""Nearest neighbors, ridge and rank of the representation at each validation."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer, rank_zero_warn
from sslbolts.batch import images_of
from sslbolts.callbacks.shared.accuracies import accuracies, is_finite, precisions
from sslbolts.callbacks.shared.bank import Bank
from sslbolts.callbacks.shared.features import FeatureFunction
from sslbolts.callbacks.shared.queries import QueryMonitor
from sslbolts.checks import positive, whole
from sslbolts.checks.devices import with_float64
from sslbolts.checks.multi_hot import has_label
from sslbolts.distributed import all_sum, broadcast_, gather_ragged, world_size
from sslbolts.errors import UsageError
from sslbolts.networks.raw_pixels import raw_pixels
from sslbolts.readouts import class_separation, rankme
from sslbolts.training.facts import is_new_run, steps_done
from sslbolts.training.logs import drop_metrics, is_compared, log_reduced
from sslbolts.training.own_loader import OwnLoader
from sslbolts.training.passes import Pass, run_pass
from sslbolts.training.rows import first_loader

__all__ = ["KNNMonitor"]

_PIXELS_FOR_KNN = 32
_PIXELS_FOR_RIDGE = 16


class KNNMonitor(QueryMonitor):
    """The quality of the frozen features, at each validation, on any module: no training, nothing to tune.

    The images of the validation loader (of the test loader in testing; the first, if there are several) are queries,
    and labeled images from a loader of its own, the bank, are what they are compared with. From one feature pass come

    - ``knn/k20_t0.07``: accuracy of weighted cosine kNN, the protocol in the name;
    - ``ridge/top1``: accuracy of the linear probe in closed form;
    - ``rankme`` and ``class_separation`` of the bank's features (all in :mod:`sslbolts.readouts`).

    In ``fit`` two baselines are measured once, before the first step, and logged beside at every validation:
    ``knn/k20_t0.07/raw_pixels`` (the images themselves, less the bank's mean image, averaged down to at most 32 x 32
    pixels, and to 16 x 16 for ridge) and ``knn/k20_t0.07/untrained`` (the network as it comes into ``fit``); likewise
    ``ridge/top1/...``.

    All are logged at the end of validation on all ranks, equal, so ``ModelCheckpoint(monitor="knn/k20_t0.07")`` works;
    from testing they carry the prefix ``test/``. Each rank computes its share of the bank and of the queries; the
    numbers are those of one process, since images that a sampler repeats are counted once. Weights, random states and
    the Trainer's loaders are untouched. Features of the bank are kept in float32 on the device: 0.4 GB for 50,000 of
    width 2048.

    Where an image may show several classes (``multi_label``), a query's score for a class is the share of its
    neighbors' weighted votes, and logged are mean average precisions, ``knn/k20_t0.07/map`` and ``ridge/map``: over the
    classes that some query shows, since a class without any has no precision. There is no ``class_separation`` then.

    Images of the bank with a feature that is not finite (or has no finite square in float32) are left out, with a
    warning; such queries count as wrong. If nothing is left, all numbers are NaN, so a run that diverges goes on.

    Args:
        k: numbers of neighbors.
        temperature: of the votes.
        bank: DataLoader of labeled ``(x, y, ...)`` batches under evaluation transforms, or a callable that makes one;
            None takes ``trainer.datamodule.bank_dataloader()``. Its batches pass through the Trainer's batch-transfer
            hooks as validation batches do.
        features: None takes ``outputs["features"]`` where ``validation_step`` returns it, and else, as for the bank,
            ``module(x)``; the name of a submodule takes its output in the step, or in ``module(x)``; or a callable
            ``(module, batch, outputs) -> (B, D)``, ``outputs`` being None for batches of the bank. The first batch of
            an evaluation is read as the bank is, too: if that differs, a submodule is read so in all batches, and
            others are refused.
        targets: callable ``batch -> (B,)``; None knows ``(x, y, ...)`` and mappings. Label -1 is left out.
        every_n_epochs: measure at the first validation, then when ``n`` epochs have passed, and at the end of the run;
            and in between where ``ModelCheckpoint``, ``EarlyStopping`` or a learning-rate schedule compares one of the
            metrics, which are not there at a validation that is not measured.
        max_bank: at most so many images in the bank, each class in proportion (drawn from all, where images may show
            several); None for all.
        baselines: measure raw pixels and the untrained network.
        name: prefix of the metrics, ``name/knn/...``; needed when there are two of these callbacks.
        multi_label: whether labels are rows ``(B, C)`` of several classes, of 1, 0, and -1 for what is not known; None
            is what the DataModule declares, else False. Rows with a single 1 are class numbers then.

    Raises:
        UsageError: for a value out of range; when evaluation starts, if there is no bank; with its first batch, if
            ``outputs["features"]`` are other features than those of the bank.

    Example:
        >>> monitor = KNNMonitor(k=20, max_bank=10_000)
        >>> monitor.metrics
        ('knn/k20_t0.07', 'ridge/top1')
    """

    has_bank = True

    def __init__(
        self,
        k: int | Sequence[int] = (20, 200),
        temperature: float = 0.07,
        bank: Any = None,
        features: str | FeatureFunction | None = None,
        targets: Callable[[Any], Tensor] | None = None,
        *,
        every_n_epochs: int = 1,
        max_bank: int | None = None,
        baselines: bool = True,
        name: str = "",
        multi_label: bool | None = None,
    ) -> None:
        self.k = (k,) if isinstance(k, int) else tuple(k)
        if not self.k or not all(isinstance(number, Integral) and number >= 1 for number in self.k):
            raise UsageError(f"k={k}: the number of neighbors is at least 1, and whole.")
        positive(temperature=temperature)
        whole(every_n_epochs=every_n_epochs)
        whole(2, max_bank=max_bank)
        super().__init__(name or "KNNMonitor", features, targets, multi_label=multi_label)
        self.temperature = temperature
        self.every_n_epochs = every_n_epochs
        self.baselines = baselines
        self._key = name
        self._start = f"{name}/" if name else ""
        self.baseline_values: dict[str, float] = {}
        """Accuracies of the baselines, by metric name."""
        self._measured = -every_n_epochs  # the last epoch that was
        self.bank = Bank(bank, max_rows=max_bank, targets=self.targets, several=lambda: self.multi_label)
        self._share: Pass | None = None  # what this rank has read of the bank
        self._queries: list[tuple[Tensor, Tensor]] = []
        self._warned = False  # of features that are not finite

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self._key)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the accuracies (or precisions), of kNN for each `k` and then of ridge."""
        return self._names(self.k, ridge=True)

    @property
    def _logged(self) -> tuple[str, ...]:
        """Names of all that is measured anew."""
        shape = ("rankme",) if self.multi_label else ("rankme", "class_separation")
        return (*self.metrics, *(f"{self._start}{name}" for name in shape))

    # ------------------------------------------------------------------ baselines

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_new_run(trainer):
            self.baseline_values = {}
            self._measured = -self.every_n_epochs
        self._warned = False
        self.bank.loader(trainer, pl_module)  # a missing bank is better named now than after an epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.baselines or self.baseline_values or not trainer.enable_validation:
            return
        validation = trainer.fit_loop.epoch_loop.val_loop
        if trainer.val_dataloaders is None:  # Lightning has not needed them yet
            trainer.validating = True
            validation.setup_data()
            trainer.training = True
        loader = first_loader(trainer.val_dataloaders)
        if loader is None:
            return
        batches = float(validation.max_batches[0]) if validation.max_batches else 0.0
        # Ranks may have unequal numbers.
        everybody = gather_ragged(torch.tensor([batches], device=pl_module.device)).tolist()
        if min(everybody) == 0 < max(everybody):
            raise UsageError(
                f"{self.name}: rank {everybody.index(0)} has no validation batch, so Lightning skips validation there, "
                "and the others would wait for it for ever: give each rank at least one."
            )
        most = int(max(everybody)) * world_size() if 0 < max(everybody) < float("inf") else None
        self._reader.check(pl_module)
        # Name, reader, and what is measured: numbers of neighbors, and whether ridge is.
        plans: list[tuple[str, Callable[[Any], Tensor], tuple[int, ...], bool]] = [
            ("raw_pixels", lambda batch: self._pixels(batch, _PIXELS_FOR_KNN), self.k, False),
            # The cost of ridge grows with the cube of the width: 3,072 pixels would take seconds.
            ("raw_pixels", lambda batch: self._pixels(batch, _PIXELS_FOR_RIDGE), (), True),
        ]
        if steps_done(trainer) == 0:
            plans.append(("untrained", partial(self.features_of, trainer, pl_module), self.k, True))

        def read(own: OwnLoader) -> Pass:
            readers = [reader for _, reader, *_ in plans]
            return run_pass(trainer, pl_module, own, readers=readers, targets=self.targets)

        bank = self.bank.whole(read(self.bank.loader(trainer, pl_module)))
        queries = read(OwnLoader(loader, most_batches=most))
        known = has_label(queries.targets)
        for (name, _, k, ridge), x, features in zip(plans, bank.features, queries.features):
            if not x.shape[1]:
                continue
            if not len(features):  # this rank has no queries
                features = x[:0]
            x, labels = self._finite(x, bank.targets)
            # With their mean image, all images are similar to each other.
            mean = x.mean(0) if name == "raw_pixels" else x.new_zeros(())
            reached = self._accuracies(k, ridge, (features - mean)[known], queries.targets[known], x - mean, labels)
            self.baseline_values |= {f"{metric}/{name}": value for metric, value in reached.items()}

    def _pixels(self, batch: Any, side: int) -> Tensor:
        try:
            return raw_pixels(images_of(batch), side=side)
        except UsageError:  # its images are known to a callable alone
            return torch.empty(len(self.targets(batch)), 0)

    # ------------------------------------------------------------------ evaluation

    def due(self, trainer: Trainer) -> bool:
        if trainer.state.fn != "fit":
            return True
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step or trainer.should_stop
        if 0 < epoch - self._measured < self.every_n_epochs and not last and not is_compared(trainer, self._logged):
            drop_metrics(trainer, self._logged)
            return False
        self._measured = epoch
        return True

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bank.loader(trainer, pl_module)

    def collect(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, features: Tensor, targets: Tensor
    ) -> None:
        self._queries.append((features, targets))
        self.bank_pass(trainer, pl_module)

    def bank_pass(self, trainer: Trainer, pl_module: LightningModule) -> Pass:
        """This rank's share of the bank's features, read once per evaluation, whoever asks first."""
        if self._share is None:
            # With the first batch, not at the end of the epoch: WeightAveraging may have changed weights back there.
            self._share = run_pass(
                trainer,
                pl_module,
                self.bank.loader(trainer, pl_module),
                readers=[partial(self.features_of, trainer, pl_module)],
                targets=self.targets,
            )
        return self._share

    def report(self, trainer: Trainer, pl_module: LightningModule, first_seen: Tensor, *, prefix: str) -> None:
        if not prefix:
            drop_metrics(trainer, self._logged)
        if not all_sum(torch.tensor(len(self._queries), device=first_seen.device)):
            return
        # A rank without a batch of queries has its share of the bank all the same: the others wait for it.
        found = self.bank.whole(self.bank_pass(trainer, pl_module))
        bank, labels = self._finite(found.features[0], found.targets)
        features, targets = (torch.cat(parts) for parts in zip(*(self._queries or [(bank[:0], labels[:0])])))
        self.forget()
        counted = first_seen & has_label(targets)
        values = self._accuracies(self.k, True, features[counted], targets[counted], bank, labels)
        shape = bank.new_full((1 if self.multi_label else 2,), torch.nan)
        if len(bank) and self.multi_label:
            shape = rankme(bank)[None]
        elif len(bank):
            shape = torch.stack([rankme(bank), with_float64(class_separation(bank, labels))])
        broadcast_([shape])  # devices of one kind agree to the last bit, but a decision to stop must not depend on it
        values |= {f"{self._start}{name}": v for name, v in zip(("rankme", "class_separation"), shape.tolist())}
        if not prefix:  # they were measured on the validation images
            values |= self.baseline_values
        log_reduced(pl_module, {f"{prefix}{name}": v for name, v in values.items()}, prog_bar=self.metrics[:1])

    def forget(self) -> None:
        self._share, self._queries = None, []

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self.bank.forget()  # another run may bring another DataModule

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        self.bank.forget()

    def _finite(self, bank: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of the bank that can be compared with anything."""
        finite = is_finite(bank)
        if bool(finite.all()):
            return bank, targets
        if not self._warned:
            self._warned = True
            share = 1 - float(finite.float().mean())
            rank_zero_warn(
                f"{self.name}: {share:.2%} of the bank's images have features that are not finite, and are left out: "
                "the network has diverged, or is about to (a smaller learning rate, or a longer warm-up)."
            )
        if not bool(has_label(targets[finite]).any()):
            finite = torch.zeros_like(finite)
        return bank[finite], targets[finite]

    def _accuracies(
        self, k: Sequence[int], ridge: bool, features: Tensor, targets: Tensor, bank: Tensor, bank_targets: Tensor
    ) -> dict[str, float]:
        """Accuracies by metric name: of kNN for each ``k``, and of ridge if it is asked for."""
        measure = precisions if self.multi_label else accuracies
        found = measure(features, targets, bank, bank_targets, k=k, temperature=self.temperature, ridge=ridge)
        if not found:
            rank_zero_warn("KNNMonitor: no query has a label (all are -1), so there are no accuracies to log.")
        return dict(zip(self._names(k, ridge), found))

    def _names(self, k: Sequence[int], ridge: bool) -> tuple[str, ...]:
        end, ridges = ("/map", "map") if self.multi_label else ("", "top1")
        knn = [f"{self._start}knn/k{neighbors}_t{self.temperature:g}{end}" for neighbors in k]
        return (*knn, *([f"{self._start}ridge/{ridges}"] if ridge else []))

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The baselines: a resumed run has no untrained network any more."""
        return {"baselines": dict(self.baseline_values), "measured": self._measured}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the baselines."""
        self.baseline_values = dict(state_dict["baselines"])
        self._measured = state_dict["measured"]
