"""Worker processes of loaders: how many there are, and how they start."""

import gc
import multiprocessing
import os
import sys
from typing import Any

import torch

from sslbolts.transforms.allocator import tune_malloc

__all__ = ["are_forked", "automatic_workers", "start_worker", "worker_for_memory", "worker_settings"]

_MOST_WORKERS = 16


def worker_settings(count: int) -> dict[str, Any]:
    """Arguments of a DataLoader with so many workers.

    On Linux they are forked, also from Python 3.14 on, which would start them with pickled copies by default: each with
    a copy of all names and of images in memory, and none where a dataset cannot be pickled. Where the program has set
    another way (``multiprocessing.set_start_method``), it is that.

    Args:
        count: of worker processes; 0 is this process.

    Example:
        >>> worker_settings(0)
        {'num_workers': 0}
    """
    return {"num_workers": count, **({"multiprocessing_context": "fork"} if count and are_forked() else {})}


def are_forked() -> bool:
    """True if worker processes are forked; asking for it settles nothing."""
    default = multiprocessing.get_all_start_methods()[0]
    method = multiprocessing.get_start_method(allow_none=True) or default
    return method == "fork" or (sys.platform == "linux" and method == default)


def start_worker(worker_id: int) -> None:
    """Prepares a worker process: one thread, since there are several workers, and memory that is kept when freed.

    What the worker got from its parent, such as the names of all files, is kept from the garbage collector, which would
    write into every object of it, and so make the worker's own copy.
    """
    gc.freeze()
    torch.set_num_threads(1)
    tune_malloc()


def automatic_workers(processes: int, *, accelerator: bool) -> int:
    """Worker processes for images that are decoded one by one.

    Args:
        processes: training processes on this machine, which share its cores.
        accelerator: whether training runs on one. If not, it needs the cores itself: half of them go to workers.
    """
    share = _cores(processes)
    return max(1, min(_MOST_WORKERS, share if accelerator else share // 2))


def worker_for_memory(processes: int) -> int:
    """One worker process for images in memory that are augmented on a CPU, or none where training leaves it no core.

    Of two cores that training takes both of, a worker costs more than it gives: benchmarks/results/loader.md.

    Args:
        processes: training processes on this machine, which share its cores.
    """
    share = _cores(processes)
    return int(share > 2 or torch.get_num_threads() < share)


def _cores(processes: int) -> int:
    """A training process's share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores // max(1, processes)
