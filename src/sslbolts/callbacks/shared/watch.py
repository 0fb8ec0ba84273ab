"""A thread that sees signals and silent ranks also while the training waits in a collective."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["Watch", "end_process"]

_TICK = 0.5


class Watch:
    """Ends this process where a training that should stop does not get to it, or another rank is silent.

    Python runs a signal's handler between two of its own instructions, and so never while a collective waits for a rank
    that hangs. This thread gets the signal's number at once. It counts seconds in which it runs itself: a process that
    was stopped and goes on has missed none.

    Args:
        patience: seconds after a signal, or after the last sign of progress since, until the process is ended; and
            seconds that another rank may be silent.
        signals: those whose arrival starts the clock.
        group: a process group of all ranks on the CPU for signs of life; None watches no rank.
        end: called with an exit code and the reason.
    """

    def __init__(self, patience: float, signals: Collection[int], group: Any, end: Callable[[int, str], None]) -> None:
        self.patience = patience
        self._signals = set(signals)
        self._group = group
        self._end = end
        self._received: list[int] = []
        self._waited = self._silent = 0.0
        self._pulse: tuple[torch.Tensor, Any] | None = None
        self._leaving = self._closed = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, daemon=True, name="sslbolts signals")
        self._listens = False

    def start(self) -> None:
        """Begin, in the main thread; the wake-up file of signals stays another's where it is in use."""
        before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._listens = before == -1
        if not self._listens:
            signal.set_wakeup_fd(before)
        self._thread.start()

    def progress(self) -> None:
        """Tell that the training moves: the clock starts anew."""
        self._waited = 0.0

    def close(self, *, together: bool) -> None:
        """End the thread.

        Args:
            together: all ranks do, now or soon: theirs then ask for no more signs of life.
        """
        if self._listens:
            signal.set_wakeup_fd(-1)
        if not together:
            self._group = None
        self._leaving = True
        with suppress(OSError):
            self._writer.send(b"\0")
        self._thread.join(6 * _TICK)
        self._closed = True

    def tick(self, seconds: float, received: bytes = b"") -> None:
        """Look once, ``seconds`` after the last time; ``received`` are the numbers of signals."""
        for number in received:
            if number in self._signals:
                if number == signal.SIGINT and number in self._received:
                    self._end(128 + number, "a second SIGINT")
                self._received.append(number)
        if self._received:
            self._waited += seconds
            if self._waited > self.patience:
                name = signal.Signals(self._received[0]).name
                reason = f"{name} came, and training has not moved for {self.patience:g} s: nothing is saved"
                self._end(128 + self._received[0], reason)
        if (group := self._group) is not None:
            self._look_for_ranks(group, seconds)

    def _look_for_ranks(self, group: Any, seconds: float) -> None:
        if self._pulse is None:
            leaving = torch.tensor(int(self._leaving))
            self._pulse = leaving, dist.all_reduce(leaving, dist.ReduceOp.MAX, group=group, async_op=True)
            self._silent = 0.0
            return
        tensor, work = self._pulse
        if work.is_completed() and _has_worked(work):
            if tensor.item():  # a rank has finished: no more is asked of any
                self._group = None
            self._pulse = None
            return
        self._silent += seconds
        if self._silent > self.patience:
            self._end(1, f"another rank has given no sign of life for {self.patience:g} s: it hangs, or is gone")

    def _run(self) -> None:
        last = time.monotonic()
        while not self._closed and (not self._leaving or self._group is not None):
            self._reader.settimeout(0.02 if self._leaving else _TICK)
            received = b""
            with suppress(OSError):  # nothing has come; select() would refuse a process of a thousand open files
                received = self._reader.recv(64)
            now = time.monotonic()
            self.tick(min(now - last, 2 * _TICK), received)
            last = now


def _has_worked(work: Any) -> bool:
    try:
        work.wait()
    except RuntimeError:  # the connection is gone
        return False
    return True


def end_process(code: int, reason: str) -> None:
    """Leave without anything that could wait."""
    with suppress(OSError):
        os.write(2, f"error: {reason}. The process ends.\n".encode())
    os._exit(code)
