"""Buffers that a method keeps from one optimizer step to the next: queues, centers, banks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts._lightning import Trainer
from sslbolts.checks import whole
from sslbolts.distributed import broadcast_, gather
from sslbolts.errors import UsageError

__all__ = [
    "FeatureQueue",
    "Memory",
    "broadcast_memories",
    "commit_memories",
    "forget_staged",
    "memory_names",
    "only_measures",
]


class Memory(nn.Module):
    """Buffers that change once per optimizer step, equally on every rank.

    A training step only stages what is to be remembered; :class:`~sslbolts.SSLModule` commits it after the optimizer
    step. So batches that accumulate gradients count as one, and all of them see the state from before. What all ranks
    staged must come together in :meth:`update`; the buffers are then equal everywhere without being sent around, and
    data-parallel training leaves them out of what it broadcasts before every forward pass.

    A subclass registers its buffers and defines :meth:`update`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._staged: list[tuple[Tensor, ...]] = []

    def stage(self, *rows: Tensor) -> None:
        """Keeps rows of this rank, ``(B, ...)`` each, until the optimizer step."""
        self._staged.append(tuple(row.detach() for row in rows))

    def commit(self) -> None:
        """Updates the buffers with everything staged since the last time."""
        if self._staged:
            staged = tuple(torch.cat(rows) for rows in zip(*self._staged, strict=True))
            self._staged.clear()
            with torch.no_grad():
                self.update(*staged)

    def forget(self) -> None:
        """Drops what is staged."""
        self._staged.clear()

    def update(self, *rows: Any) -> None:
        """Changes the buffers in place.

        Args:
            rows: what this rank staged, batch after batch; other ranks have as many.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update(*rows).")


class FeatureQueue(Memory):
    """The last rows that all ranks staged, first in, first out; random unit vectors at first.

    Args:
        length: number of rows `K`.
        dim: their width `D`.

    Attributes:
        rows: ``(K, D)``, in no particular order.
        pointer: where the next row goes.

    Raises:
        UsageError: if a size is not positive; at a step that stages more rows than the queue has.

    Example:
        >>> queue = FeatureQueue(4, 2)
        >>> queue.stage(torch.ones(3, 2))
        >>> queue.commit()
        >>> queue.rows[:3].sum().item(), queue.pointer.item()
        (6.0, 3)
    """

    rows: Tensor
    pointer: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        whole(length=length, dim=dim)
        self.register_buffer("rows", F.normalize(torch.randn(length, dim)))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def update(self, rows: Tensor) -> None:
        rows = gather(rows).to(self.rows.dtype)
        if len(rows) > len(self.rows):
            raise UsageError(
                f"a queue of {len(self.rows)} rows cannot take the {len(rows)} of one step: make the queue longer or "
                "the batch smaller."
            )
        places = (self.pointer + torch.arange(len(rows), device=rows.device)) % len(self.rows)
        self.rows.index_copy_(0, places, rows)
        self.pointer.add_(len(rows)).remainder_(len(self.rows))


def _memories(module: nn.Module) -> list[tuple[str, Memory]]:
    return [(name, part) for name, part in module.named_modules() if isinstance(part, Memory)]


def commit_memories(module: nn.Module) -> None:
    """Commits what every :class:`Memory` inside ``module`` has staged."""
    for _, memory in _memories(module):
        memory.commit()


def forget_staged(module: nn.Module) -> None:
    """Drops what every :class:`Memory` inside ``module`` has staged: a run that was cut off may have left it.

    Example:
        >>> queue = FeatureQueue(4, 2)
        >>> queue.stage(torch.ones(3, 2))
        >>> forget_staged(queue)
        >>> queue.commit()
        >>> queue.pointer.item()
        0
    """
    for _, memory in _memories(module):
        memory.forget()


def only_measures(trainer: Trainer) -> bool:
    """True in a pass in which nothing is learned: StochasticWeightAveraging ends with one, for batch norms.

    To Lightning it is one optimizer step, whose rows are those of all the images.
    """
    return bool(getattr(trainer.fit_loop, "_skip_backward", False))


def memory_names(module: nn.Module) -> list[str]:
    """Names of the buffers inside ``module`` that belong to a :class:`Memory`."""
    return [f"{prefix}.{name}" for prefix, memory in _memories(module) for name, _ in memory.named_buffers()]


def broadcast_memories(module: nn.Module) -> None:
    """Overwrites the buffers of every :class:`Memory` inside ``module`` with those of rank 0."""
    broadcast_(buffer for _, memory in _memories(module) for buffer in memory.buffers())
