"""Signs of collapse, while it happens."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts._lightning import Callback, LightningModule, Trainer, rank_zero_warn
from sslbolts.callbacks.shared.features import FeatureReader, agreed_width
from sslbolts.checks import whole
from sslbolts.distributed import gather_ragged, world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.readouts import effective_rank, normalized_std
from sslbolts.training.facts import is_new_run
from sslbolts.training.logs import drop_metrics, log_reduced

__all__ = ["CollapseMonitor"]

_ROWS = 512
_STATE = "sslbolts_collapse"
_STD_FIXES = (
    "a smaller learning rate or a longer warm-up",
    "stop-gradient, predictor, centering or whitening where the method has it",
    "a larger batch for contrastive methods",
    "no weight decay on biases and norms",
)
_RANK_FIXES = ("stronger augmentation", "a deeper or wider projector", "a smaller learning rate")
_FINITE_FIXES = ("a smaller learning rate", "a longer warm-up", "bf16-mixed instead of 16-mixed", "gradient clipping")


class CollapseMonitor(Callback):
    r"""Measures every so often whether embeddings still differ, and says so once when they do not.

    Of the embeddings that the module's own ``training_step`` computes (read by a forward hook, at most the first 512
    rows of its first call: of the first view, or of several where they are embedded together and are few):

    - ``collapse/std``: :func:`~sslbolts.readouts.normalized_std`; `1/√D` when evenly spread, 0 when all images are one
      point (complete collapse);
    - ``collapse/effective_rank``: :func:`~sslbolts.readouts.effective_rank` of their covariance; low when embeddings
      fill few directions (dimensional collapse).

    Both are logged as means over the epoch, equal on all ranks. A value that is bad ``patience`` times in a row gives
    one warning, with the value, what it means and the usual fixes; an embedding that is not finite does so at once. The
    module's own ``indicators`` (:class:`~sslbolts.callbacks.Indicator`) are watched in the same way. The host waits for
    the device only in the steps that are measured.

    Args:
        features: name of the submodule to look at; None is what the module names in its attribute ``embedding``, or
            else "projector", or else "backbone".
        every_n_steps: measure on each n-th batch of an epoch, the first included.
        min_std: ``collapse/std`` is bad below this fraction of `1/√D`.
        min_rank: ``collapse/effective_rank`` is bad below this fraction of `min(D, rows)`, and always below 1.5.
        patience: bad measurements in a row before the warning.
        name: prefix of the metrics, ``name/collapse/...``; needed when there are two of these callbacks.

    Raises:
        UsageError: for a value out of range; when fit starts, for the name of no submodule, or for another one of these
            callbacks that logs under the same name.

    Example:
        >>> CollapseMonitor(every_n_steps=100).features is None
        True
    """

    def __init__(
        self,
        features: str | None = None,
        *,
        every_n_steps: int = 50,
        min_std: float = 0.1,
        min_rank: float = 0.01,
        patience: int = 3,
        name: str = "",
    ) -> None:
        whole(every_n_steps=every_n_steps, patience=patience)
        for argument, fraction in (("min_std", min_std), ("min_rank", min_rank)):
            if not 0 <= fraction < 1:
                raise UsageError(f"{argument}={fraction}: it is a fraction in [0, 1).")
        self.features = features
        self.every_n_steps = every_n_steps
        self.min_std = min_std
        self.min_rank = min_rank
        self.patience = patience
        self.name = name
        self._due = False  # since the last n-th batch nothing was measured
        self._reader = FeatureReader(features)
        self._first = True
        self._told = False  # that it never ran
        self._sums: dict[str, float] = {}  # over the measured batches of the epoch, equal on all ranks
        self._measured = 0
        self._bad: dict[Indicator, int] = {}
        self._warned: set[Indicator] = set()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader = FeatureReader(self.features or _default_features(pl_module))
        self._reader.check(pl_module)
        others = [c for c in trainer.callbacks if isinstance(c, CollapseMonitor)]  # type: ignore[attr-defined]
        if sum(other.name == self.name for other in others) > 1:
            raise UsageError(
                f'two CollapseMonitors would log "{self._metric("collapse/std")}": give them names, with name=.'
            )
        self._first = others[0] is self  # the module's own indicators are judged once
        self._due = False
        self._bad = {}
        if is_new_run(trainer):
            self._warned, self._told = set(), False
            self._sums, self._measured = {}, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._due = self._due or batch_idx % self.every_n_steps == 0
        self._reader.start(pl_module, recording=self._due)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if pl_module.automatic_optimization:
            self._reader.pause()  # activation checkpointing runs modules again

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._due:
            self._reader.detach()
            return
        found = self._reader.training_features(trainer, pl_module, batch, outputs)
        width = agreed_width(found[0] if found else None, pl_module.device)
        if not width:  # it has run on no rank: the next batch is looked at
            return
        self._due = False
        if not found:
            found = [torch.empty(0, width, device=pl_module.device)]
        with torch.autocast(pl_module.device.type, enabled=False):
            self._measure(trainer, pl_module, gather_ragged(found[0][: max(2, _ROWS // world_size())]))
        for indicator in getattr(pl_module, "indicators", ()) if self._first else ():
            value = trainer.callback_metrics.get(indicator.metric)
            if value is not None:
                self._judge(trainer, indicator, float(value))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Of an epoch that measures nothing finite, the last one's values are not compared.
        drop_metrics(trainer, [self._metric(name) for name in ("collapse/std", "collapse/effective_rank")])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = False
        if self._measured:
            log_reduced(pl_module, {name: total / self._measured for name, total in self._sums.items()})
        self._sums, self._measured = {}, 0
        if self._reader.never_ran(pl_module.device) and not self._told:
            self._told = True
            rank_zero_warn(
                f'CollapseMonitor: no training step of an epoch ran "{self._reader.features}": give features= the name '
                "of a submodule that training_step runs."
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reader.detach()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._reader.detach()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._reader.detach()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """What the epoch has measured; not as a state, of which Lightning itself refuses two without names."""
        state = {"sums": dict(self._sums), "measured": self._measured}
        checkpoint.setdefault(_STATE, {})[self.name] = state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with what the epoch had measured."""
        state = checkpoint.get(_STATE, {}).get(self.name, {"sums": {}, "measured": 0})
        self._sums, self._measured = dict(state["sums"]), state["measured"]

    def _measure(self, trainer: Trainer, pl_module: LightningModule, z: Tensor) -> None:
        if len(z) < 2:
            return
        finite = bool(z.isfinite().all())
        broken = Indicator(
            f"share of finite values of {self._reader.features}",
            "the network has diverged",
            below=1.0,
            fixes=_FINITE_FIXES,
        )
        if not finite:
            self._judge(trainer, broken, float(z.isfinite().float().mean()), patience=1)
            return
        even, most = 1 / math.sqrt(z.shape[1]), min(z.shape)
        for indicator, value in (
            (
                Indicator(
                    self._metric("collapse/std"),
                    f"all images are mapped to nearly one point (evenly spread embeddings would have {even:.3g})",
                    below=self.min_std * even,
                    fixes=_STD_FIXES,
                ),
                float(normalized_std(z)),
            ),
            (
                Indicator(
                    self._metric("collapse/effective_rank"),
                    f"the embeddings vary along very few of {most} directions",
                    below=max(1.5, self.min_rank * most),
                    fixes=_RANK_FIXES,
                ),
                float(effective_rank(z)),
            ),
        ):
            self._sums[indicator.metric] = self._sums.get(indicator.metric, 0.0) + value
            self._judge(trainer, indicator, value)
        self._measured += 1

    def _metric(self, name: str) -> str:
        return f"{self.name}/{name}" if self.name else name

    def _judge(self, trainer: Trainer, indicator: Indicator, value: float, *, patience: int | None = None) -> None:
        # By indicator, not by metric: a method may have two on one metric, of which at most one is bad.
        self._bad[indicator] = self._bad.get(indicator, 0) + 1 if indicator.is_bad(value) else 0
        if self._bad[indicator] < (patience or self.patience) or indicator in self._warned:
            return
        self._warned.add(indicator)
        fixes = f" Usual fixes: {'; '.join(indicator.fixes)}." if indicator.fixes else ""
        rank_zero_warn(f"{indicator.metric} is {value:.3g} at step {trainer.global_step}: {indicator.meaning}.{fixes}")


def _default_features(module: nn.Module) -> str:
    if isinstance(embedding := getattr(module, "embedding", None), str):
        return embedding
    children = dict(module.named_children())
    for name in ("projector", "backbone"):
        if name in children:
            return name
    raise UsageError(
        f"CollapseMonitor does not know what to look at: {type(module).__name__} has no projector and no backbone. "
        f"Give features= the name of a submodule, such as {', '.join(list(children)[:10]) or '(it has none)'}."
    )
