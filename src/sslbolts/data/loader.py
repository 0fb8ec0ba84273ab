"""The training loader, and where its work is done."""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from sslbolts.data.sampler import EpochSampler
from sslbolts.transforms.allocator import tune_malloc

__all__ = ["Placement", "TrainLoader", "automatic_workers", "start_worker"]

_MOST_WORKERS = 16


class TrainLoader(DataLoader[Any]):
    """A DataLoader of whole batches that goes on in the middle of an epoch when the Trainer does.

    Nothing is drawn, and no worker started, before the first batch is asked for: Lightning makes the iterator before
    it has restored a checkpoint and set the epoch. At that moment the Trainer's own count of finished batches says
    where to begin, so batches that a worker had made in advance when the checkpoint was written are made again.

    Args:
        dataset: makes a batch from a plan.
        sampler: plans the batches of this rank.
        batches_done: how many batches of this epoch are behind us.
        **settings: further arguments of ``DataLoader``.
    """

    def __init__(
        self, dataset: Dataset[Any], sampler: EpochSampler, *, batches_done: Callable[[], int], **settings: Any
    ) -> None:
        super().__init__(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, **settings)
        self.batches_done = batches_done

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, for its laziness
        assert isinstance(self.sampler, EpochSampler)
        self.sampler.first_batch = self.batches_done() % max(1, len(self.sampler))
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Empty; that it is there tells Lightning that the loader can be resumed (see the class)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the position is in the Trainer's own counters."""


@dataclass(frozen=True)
class Placement:
    """Where views are finished.

    Attributes:
        device: the training device.
        on_device: whether the rest of the augmentation runs there, after the transfer; else in the loader.
        workers: processes of the training loader.
    """

    device: torch.device
    on_device: bool
    workers: int

    def loader_settings(self, workers: int, *, keep_workers: bool) -> dict[str, Any]:
        """Arguments of a DataLoader with that many workers."""
        return {
            "num_workers": workers,
            "pin_memory": self.device.type == "cuda",
            "persistent_workers": keep_workers and workers > 0,
            "worker_init_fn": start_worker if workers else None,
        }


def start_worker(worker_id: int) -> None:
    """Prepares a worker process: one thread, since there are several workers, and memory that is kept when freed."""
    torch.set_num_threads(1)
    tune_malloc()


def automatic_workers(processes: int, *, accelerator: bool) -> int:
    """Worker processes for images that are decoded one by one.

    Args:
        processes: training processes on this machine, which share its cores.
        accelerator: whether training runs on one. If not, it needs the cores itself: half of them go to workers.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cores // max(1, processes)
    return max(1, min(_MOST_WORKERS, share if accelerator else share // 2))


def silence_advice_on_workers() -> None:
    """Lightning advises every loader with few workers to have more; these have as many as they need."""
    warnings.filterwarnings("ignore", message=".*_dataloader' does not have many workers")


def _as_it_is(batch: Any) -> Any:
    return batch
