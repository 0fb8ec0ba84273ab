"""The speed of training, measured on its first batches by the clock of the host alone."""

from collections.abc import Callable

__all__ = ["LAST", "Pace", "duration"]

LAST = 20
"""The batch after which the speed is known."""
_WARM = 2  # batches before the measured ones: they start workers, and allocate memory
_MOSTLY = 0.5  # of the time, from which on what it is spent on limits the speed


class Pace:
    """Time per batch and the share of it that was spent waiting for batches, of batches 3 to 20.

    Time is measured from the end of the second batch to the end of the last, and waiting from the end of each to the
    beginning of the next. Nothing waits for the device: work that it has not finished counts where the host waits for
    it next. Of fewer batches than four, the first or the first two are left out; of a single one, none.

    Args:
        clock: seconds.

    Attributes:
        batches: that have ended.

    Example:
        >>> times = iter([0.0, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0])
        >>> pace = Pace(lambda: next(times))
        >>> for _ in range(4):
        ...     pace.begin()
        ...     pace.end()
        >>> pace.batches, pace.seconds_per_batch, pace.waiting
        (4, 1.0, 0.5)
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begins: list[float] = []
        self._ends: list[float] = []
        self._paused: float | None = None
        self._away = 0.0

    @property
    def batches(self) -> int:
        return len(self._ends)

    def begin(self) -> None:
        """A batch begins."""
        del self._begins[len(self._ends) :]  # of a batch that was skipped
        self._begins.append(self._now())

    def end(self) -> None:
        """It has ended."""
        self._ends.append(self._now())

    def pause(self) -> None:
        """Validation begins, whose time does not count."""
        self._paused = self._clock()

    def resume(self) -> None:
        """It has ended."""
        if self._paused is not None:
            self._away += self._clock() - self._paused
            self._paused = None

    @property
    def seconds_per_batch(self) -> float:
        """Wall time of a batch, waiting included; at least a millionth."""
        first = self._first
        since = self._ends[first - 1] if first else self._begins[0]
        return max(1e-6, (self._ends[-1] - since) / (len(self._ends) - first))

    @property
    def waiting(self) -> float | None:
        """Share of the time in [0, 1]; None for a single batch."""
        first = self._first
        if not first:
            return None
        waited = sum(begin - end for begin, end in zip(self._begins[first:], self._ends[first - 1 :]))
        return waited / max(1e-9, self._ends[-1] - self._ends[first - 1])

    def words(
        self,
        *,
        images_per_batch: int | None,
        batches_per_epoch: float,
        batches_left: float,
        resumed: bool,
    ) -> str:
        """One line: time per epoch and for the run, images per second, and what limits it.

        Args:
            images_per_batch: of all devices together; None where it is not known.
            batches_per_epoch: infinite where it is not known.
            batches_left: of the run, those that were measured included; infinite where it has no end.
            resumed: whether the run has trained before.

        Example:
            >>> times = iter([0.0, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0])
            >>> pace = Pace(lambda: next(times))
            >>> for _ in range(4):
            ...     pace.begin()
            ...     pace.end()
            >>> print(pace.words(images_per_batch=64, batches_per_epoch=90, batches_left=900, resumed=False))
            1 min 30 s an epoch and 15 min 0 s for the run, without validation: 64 images a second, ... of the time ...
        """
        each = self.seconds_per_batch
        times = []
        if batches_per_epoch != float("inf"):
            times.append(f"{duration(each * batches_per_epoch)} an epoch")
        if batches_left != float("inf"):
            times.append(f"{duration(each * batches_left)} for {'the rest of ' if resumed else ''}the run")
        if not times:
            times.append(f"{duration(each)} a batch")
        speed = f"{_short(images_per_batch / each)} images a second, " if images_per_batch else ""
        return f"{' and '.join(times)}, without validation: {speed}{self._limit()} ({self._measured})."

    @property
    def _first(self) -> int:
        return min(_WARM, len(self._ends) - 1)

    @property
    def _measured(self) -> str:
        first, last = self._first + 1, len(self._ends)
        return f"measured on batches {first} to {last}" if last > first else f"measured on batch {last} alone"

    def _limit(self) -> str:
        share = self.waiting
        if share is None:
            return "and one batch does not tell what limits it"
        spent = f"{100 * share:.0f} % of the time spent waiting for batches"
        return f"limited by the {'loader' if share >= _MOSTLY else 'network'}, with {spent}"

    def _now(self) -> float:
        return self._clock() - self._away


def duration(seconds: float) -> str:
    """In words.

    Example:
        >>> duration(0.042), duration(9.26), duration(189.4), duration(7260), duration(200_000)
        ('0.042 s', '9.3 s', '3 min 9 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for large, small, size in (("d", "h", 3600), ("h", "min", 60), ("min", "s", 1)):
        per = {"d": 24, "h": 60, "min": 60}[large]
        if whole >= per * size:
            number, rest = divmod(whole // size, per)
            return f"{number} {large} {rest} {small}"
    return f"{whole} s"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
