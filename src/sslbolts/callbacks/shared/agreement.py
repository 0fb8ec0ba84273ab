"""A number that all ranks learn of at the same step, while none waits for another."""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sslbolts.distributed import world_size

__all__ = ["Agreement", "group_on_cpu"]


def group_on_cpu() -> Any:
    """A process group of all ranks whose tensors are on the CPU; every rank must ask for it.

    None in a single process, and where torch was built without gloo.
    """
    if world_size() == 1 or not dist.is_gloo_available():
        return None
    return dist.new_group(backend="gloo", timeout=timedelta(days=1))


class Agreement:
    """The largest number that any rank gave, known to all of them one call later.

    The sum over ranks is begun in one call and read in the next: it has come by then, and the device is never asked.

    Example:
        >>> Agreement()(15)  # a single process knows at once
        15
    """

    def __init__(self) -> None:
        self._group = group_on_cpu()
        self._pending: tuple[Tensor, Any] | None = None

    def __call__(self, value: int) -> int:
        """Give a number, and get the largest one of the call before; all ranks call it equally often."""
        if self._group is None:
            return value
        largest = 0
        if self._pending is not None:
            tensor, work = self._pending
            work.wait()
            largest = int(tensor)
        mine = torch.tensor(value)
        self._pending = (mine, dist.all_reduce(mine, dist.ReduceOp.MAX, group=self._group, async_op=True))
        return largest

    def close(self) -> None:
        """Read what is still under way, and give the group back; all ranks do."""
        if self._pending is not None:
            self._pending[1].wait()
            self._pending = None
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None
