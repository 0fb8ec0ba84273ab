"""The frames of every batch: windows of videos, or pairs of frames, never across two videos."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from sslbolts.checks import one_of, whole
from sslbolts.data.sampler import BatchPlan, EpochSampler
from sslbolts.errors import UsageError
from sslbolts.training.frame_places import FramePlaces
from sslbolts.training.seeds import generator

__all__ = ["Clips", "FramePairs", "FrameSampler", "FrameSampling", "OrderedFrameSampler"]

FramePairs = Literal["none", "views", "times"]
"""Frames one by one; two views of one moment; two moments of one view."""

_ORDER, _FRAMES = 0, -2  # what a seed is for
_TIME_WINDOW = 580  # frames, in the published code
_LAG = 30


class Clips(NamedTuple):
    """Frames as rows of a dataset: a clip is one view of one sequence, and its frames are rows without a gap.

    Attributes:
        lengths: ``(C,)`` frames of each clip; its first row is the one after the last of the clip before.
        sequences: ``(C,)`` 0, 1, 2, ... in this order; the clips of one sequence are side by side.
    """

    lengths: Tensor
    sequences: Tensor

    @property
    def first(self) -> Tensor:
        """``(C,)`` the row of each clip's first frame."""
        return self.lengths.cumsum(0) - self.lengths

    @property
    def views(self) -> Tensor:
        """``(S,)`` clips of each sequence."""
        return self.sequences.bincount()

    @property
    def durations(self) -> Tensor:
        """``(S,)`` frames that all views of a sequence have."""
        return torch.full_like(self.views, torch.iinfo(torch.int64).max).scatter_reduce(
            0, self.sequences, self.lengths, "amin"
        )

    def places(self) -> FramePlaces:
        """Sequence and time of every frame.

        Example:
            >>> Clips(torch.tensor([2, 3]), torch.tensor([0, 1])).places().times.tolist()
            [0, 1, 0, 1, 2]
        """
        rows = torch.arange(int(self.lengths.sum()))
        times = rows - self.first.repeat_interleave(self.lengths)
        return FramePlaces(self.sequences.repeat_interleave(self.lengths), times)


@dataclass(frozen=True)
class FrameSampling:
    """How a batch is drawn from sequences.

    Args:
        rows: of a batch of one rank: frames, or pairs of frames.
        rows_per_sequence: how many of them come from one sequence; None is all.
        pairs: of what kind, see :data:`FramePairs`.
        time_window: consecutive moments out of which those of pairs of views are drawn; None is 580.
        lag: frames between the two of a pair of times; None is 30.
        windows_per_sequence: how often an epoch visits every sequence.

    Raises:
        UsageError: for a value out of its range, or two that do not go together.
    """

    rows: int
    rows_per_sequence: int | None = None
    pairs: FramePairs = "none"
    time_window: int | None = None
    lag: int | None = None
    windows_per_sequence: int = 1

    def __post_init__(self) -> None:
        one_of(get_args(FramePairs), pairs=self.pairs)
        whole(rows_per_sequence=self.rows_per_sequence, time_window=self.time_window, lag=self.lag)
        whole(windows_per_sequence=self.windows_per_sequence)
        for name, kind in (("time_window", "views"), ("lag", "times")):
            if getattr(self, name) is not None and self.pairs != kind:
                raise UsageError(
                    f'{name}={getattr(self, name)} has no effect with pairs="{self.pairs}": leave it out, or give '
                    f'pairs="{kind}".'
                )
        if self.rows % self.per_sequence:
            raise UsageError(
                f"batch_size={self.rows} is no multiple of rows_per_sequence={self.per_sequence}: every sequence gives "
                "equally many rows of a batch."
            )
        if self.pairs == "views" and self.moments < self.per_sequence:
            raise UsageError(
                f"time_window={self.time_window} moments do not hold {self.per_sequence} different ones: give a longer "
                "one, or a smaller rows_per_sequence."
            )

    @property
    def per_sequence(self) -> int:
        """Rows of a batch from one sequence."""
        return self.rows if self.rows_per_sequence is None else self.rows_per_sequence

    @property
    def sequences(self) -> int:
        """Sequences in a batch of one rank."""
        return self.rows // self.per_sequence

    @property
    def moments(self) -> int:
        """Moments out of which those of pairs of views are drawn."""
        return _TIME_WINDOW if self.time_window is None else self.time_window

    @property
    def frames_apart(self) -> int:
        """Frames between the two of a pair of times."""
        return _LAG if self.lag is None else self.lag

    @property
    def least(self) -> int:
        """Frames that a sequence must have."""
        more = {"none": 0, "views": self.per_sequence, "times": self.frames_apart}[self.pairs]
        return self.per_sequence + more

    def usable(self, clips: Clips) -> Tensor:
        """Numbers of the sequences that are long enough and, for pairs of views, have two.

        Raises:
            UsageError: if there is none.
        """
        views, durations = clips.views, clips.durations
        if self.pairs == "views" and int(views.max()) < 2:
            raise UsageError(
                'pairs="views" needs two views of a sequence, and there is one of each: give the folders of a layout '
                'that ends in "video/view", or pairs="times".'
            )
        usable = ((durations >= self.least) & (views >= (2 if self.pairs == "views" else 1))).nonzero().squeeze(1)
        if len(usable) == 0:
            raise UsageError(
                f"no sequence has the {self.least:,} frames that {self._asked()} takes of one; the longest has "
                f"{int(durations.max()):,}: give a smaller batch_size, rows_per_sequence or lag."
            )
        return usable

    def left_out(self, clips: Clips) -> str:
        """A sentence on the sequences that are not usable; empty if all are."""
        usable, number = len(self.usable(clips)), len(clips.views)
        if usable == number:
            return ""
        second = ", or no second view" if self.pairs == "views" else ""
        return (
            f"{number - usable:,} of {number:,} sequences are not trained on: they have fewer than the {self.least:,} "
            f"frames that {self._asked()} takes of one{second}."
        )

    def _asked(self) -> str:
        kind = {"none": "frames", "views": "pairs of views", "times": f"pairs of frames {self.frames_apart} apart"}
        return f"a batch of {self.per_sequence:,} {kind[self.pairs]}"


class FrameSampler(EpochSampler):
    """Plans the batches of one rank from sequences: each gives a window of frames, or some pairs.

    All sequences are shuffled once per pass, of which an epoch has ``windows_per_sequence``, and those of a global
    batch are different ones. Long sequences are visited no more often than short ones. Everything is uniform: the view,
    the first frame of a window over all that leave room for it, moments without repetition, and the two views of a
    moment over all pairs of different ones.

    Of pairs the plan's rows are all anchors, then all positives.

    Args:
        clips: the frames.
        sampling: how a batch is drawn.
        seed, rank, world_size, shuffle: see :class:`~sslbolts.data.sampler.EpochSampler`.
        drop_last: leave out the last sequences of a pass that do not fill a global batch; else its first come again.

    Raises:
        UsageError: if there are fewer usable sequences than a global batch takes.

    Example:
        >>> clips = Clips(lengths=torch.tensor([20, 30]), sequences=torch.tensor([0, 1]))
        >>> (first, second) = FrameSampler(clips, FrameSampling(rows=8), seed=0)
        >>> first.indices.diff().tolist()
        [1, 1, 1, 1, 1, 1, 1]
    """

    def __init__(
        self,
        clips: Clips,
        sampling: FrameSampling,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        self._usable = sampling.usable(clips)
        self._sampling = sampling
        self._views, self._durations = clips.views, clips.durations
        self._first, self._lengths = clips.first, clips.lengths
        self._first_clip = self._views.cumsum(0) - self._views
        found, group = len(self._usable), sampling.sequences * world_size
        if found < group:
            raise UsageError(
                f"a batch takes {sampling.sequences:,} sequences on each of {world_size} devices, and there are "
                f"{found:,} that are long enough: give a greater rows_per_sequence, a smaller batch_size, or fewer "
                "devices."
            )
        self._per_pass = (found if drop_last else found + group - 1) // group * group
        super().__init__(
            sampling.windows_per_sequence * self._per_pass,
            sampling.sequences,
            seed=seed,
            rank=rank,
            world_size=world_size,
            shuffle=shuffle,
        )

    @property
    def last_batch(self) -> int:
        """Rows in the last batch of an epoch, per rank."""
        return self._sampling.rows

    def draw_evenly_over(self, labels: Tensor) -> bool:
        """Frames come with their neighbors, so labels change nothing."""
        return False

    def __iter__(self) -> Iterator[BatchPlan]:
        for sequences, seed in super().__iter__():
            drawn = generator(seed, _FRAMES)
            yield BatchPlan(self._rows(self._usable[sequences], drawn), seed)

    def _order(self, epoch: int) -> Tensor:
        number = len(self._usable)
        drawn = generator(self.seed, _ORDER, epoch)
        passes = []
        for _ in range(self._sampling.windows_per_sequence):
            order = torch.randperm(number, generator=drawn) if self.shuffle else torch.arange(number)
            passes.append(order.repeat(2)[: self._per_pass])
        return torch.cat(passes)

    def _rows(self, sequences: Tensor, drawn: torch.Generator) -> Tensor:
        if self._sampling.pairs == "none":
            return self._windows(sequences, drawn)
        draw = self._two_views if self._sampling.pairs == "views" else self._two_times
        pairs = torch.stack([draw(sequence, drawn) for sequence in sequences.tolist()], 1)  # (2, sequences, rows)
        return pairs.flatten()

    def _windows(self, sequences: Tensor, drawn: torch.Generator) -> Tensor:
        """Of each sequence consecutive frames of one view."""
        length = self._sampling.per_sequence
        uniform = torch.rand(2, len(sequences), generator=drawn, dtype=torch.float64)
        clip = self._first_clip[sequences] + (uniform[0] * self._views[sequences]).long()
        start = (uniform[1] * (self._lengths[clip] - length + 1)).long()
        return ((self._first[clip] + start)[:, None] + torch.arange(length)).flatten()

    def _two_views(self, sequence: int, drawn: torch.Generator) -> Tensor:
        """Different moments of a part of the sequence, and two different views of each: ``(2, rows)``."""
        rows, views = self._sampling.per_sequence, int(self._views[sequence])
        duration = int(self._durations[sequence])
        moments = min(self._sampling.moments, duration)
        start = torch.randint(duration - moments + 1, (), generator=drawn)
        times = start + torch.randperm(moments, generator=drawn)[:rows]
        view = torch.randint(views, (rows,), generator=drawn)
        other = (view + 1 + torch.randint(views - 1, (rows,), generator=drawn)) % views
        clips = self._first_clip[sequence] + torch.stack((view, other))
        return self._first[clips] + times

    def _two_times(self, sequence: int, drawn: torch.Generator) -> Tensor:
        """Different frames of one view, and those that come ``lag`` frames after them: ``(2, rows)``."""
        clip = self._first_clip[sequence] + torch.randint(int(self._views[sequence]), (), generator=drawn)
        starts = int(self._lengths[clip]) - self._sampling.frames_apart
        times = torch.randperm(starts, generator=drawn)[: self._sampling.per_sequence]
        return self._first[clip] + torch.stack((times, times + self._sampling.frames_apart))


class OrderedFrameSampler(FrameSampler, SequentialSampler):  # type: ignore[misc]
    """A :class:`FrameSampler` whose every epoch begins with the same sequences, of a type that says so.

    Lightning's ``overfit_batches``, which takes only the first batches of an epoch, looks for that type.
    """

    def go_on(self, done: int, done_in_epoch: int) -> None:
        """The next iteration is the rest of the epoch that :meth:`set_epoch` named."""
        super().go_on(self.epoch * len(self) + done_in_epoch, done_in_epoch)
