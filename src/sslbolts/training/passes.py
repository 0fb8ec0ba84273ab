"""A pass of the network over a loader beside training, which leaves no trace in the run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sslbolts._lightning import LightningModule, Trainer
from sslbolts.distributed import gather_or_none, gather_ragged, world_size
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar
from sslbolts.training.own_copy import fresh_draws
from sslbolts.training.own_loader import NOT_MINE, ROWS_PER_BATCH, OwnLoader
from sslbolts.training.undisturbed import undisturbed

__all__ = ["Pass", "prepared", "prepared_batches", "run_pass"]

_EMPTY = "the loader of labeled images (the bank, or the queries) is empty."


class Pass(NamedTuple):
    """Features, labels and order of the rows that a pass has read.

    Attributes:
        features: one ``(rows, D)`` for each reader; ``(0, 0)`` on a rank that has read nothing.
        targets: ``(rows,)``, or ``(rows, C)`` of several classes.
        order: ``(rows,)`` int64; sorted by it, rows of all ranks are in the loader's order.
    """

    features: list[Tensor]
    targets: Tensor
    order: Tensor

    def gathered(self) -> "Pass":
        """The rows of all ranks in the loader's order, the same for any number of ranks.

        Raises:
            UsageError: if there are none.
        """
        if world_size() == 1:
            return self
        order = gather_ragged(self.order)
        if not len(order):
            raise UsageError(_EMPTY)
        rows = order.argsort()
        # One after the other, so that only one of them is in memory twice.
        gathered = (gather_or_none(x if len(x) else None, x.device) for x in self.features)
        features = [x[rows] for x in gathered if x is not None]
        # A rank that has read nothing does not know the form of labels.
        targets = gather_or_none(self.targets if len(self.targets) else None, order.device)
        assert targets is not None
        return Pass(features, targets[rows], order[rows])


def run_pass(
    trainer: Trainer,
    module: LightningModule,
    loader: OwnLoader,
    *,
    readers: Sequence[Callable[[Any], Tensor]],
    targets: Callable[[Any], Tensor],
) -> Pass:
    """Walk this rank's share of a loader, batches moved and prepared as the Trainer does it in validation.

    Args:
        trainer: that runs.
        module: that it trains; in eval mode during the pass.
        loader: the batches.
        readers: each makes ``(B, D)`` of a prepared batch.
        targets: makes labels ``(B,)`` of it.
    """
    features: list[list[Tensor]] = [[] for _ in readers]
    labels, order = [], []
    with prepared_batches(trainer, module, loader) as batches:
        for number, batch in batches:
            y = targets(batch).to(module.device)
            for rows, reader in zip(features, readers):
                rows.append(reader(batch))
                if len(rows[-1]) != len(y):
                    raise UsageError(f"a batch of the bank has {len(y)} labels but {len(rows[-1])} rows of features.")
            if number == NOT_MINE:
                features, y = [[rows[-1][:0]] for rows in features], y[:0]
            labels.append(y)
            order.append(number * ROWS_PER_BATCH + torch.arange(len(y), device=module.device))
    if not labels and world_size() == 1:
        raise UsageError(_EMPTY)
    if not labels:  # other ranks may have some
        nothing = torch.empty(0, dtype=torch.int64, device=module.device)
        return Pass([nothing.float().view(0, 0) for _ in readers], nothing, nothing)
    return Pass([torch.cat(rows) for rows in features], torch.cat(labels), torch.cat(order))


@contextmanager
def prepared_batches(
    trainer: Trainer, module: LightningModule, loader: OwnLoader, *, bar: str | None = None
) -> Iterator[Iterator[tuple[int, Any]]]:
    """This rank's batches of a loader with their numbers, moved and prepared as the Trainer does it in validation.

    Inside the context the module is in eval mode and records no gradients; afterwards the run is as it was before.

    Args:
        trainer: that runs.
        module: that it trains.
        loader: the batches.
        bar: description of a progress bar, which appears if it takes more than two seconds; None for no bar.
    """
    with torch.no_grad(), undisturbed(trainer, module), fresh_draws(loader.loader):
        numbered = late_bar(loader, bar or "", shown=bar is not None)
        yield ((number, prepared(trainer, module, batch)) for number, batch in numbered)


def prepared(trainer: Trainer, module: LightningModule, batch: Any) -> Any:
    """A batch that no loader of the Trainer gave, moved and prepared as it does it with its own."""
    batch = trainer.precision_plugin.convert_input(batch)
    # Lightning has no public name for it: the hooks that a module, or its DataModule, has for a batch before it moves.
    batch = module._on_before_batch_transfer(batch, dataloader_idx=0)  # noqa: SLF001
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
