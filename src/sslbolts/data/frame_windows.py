"""Training batches of frames: what DataModules of videos share."""

from typing import Any

from sslbolts._lightning import rank_zero_warn
from sslbolts.batch import ViewBatch
from sslbolts.data.arguments import DataArguments
from sslbolts.data.base import SSLDataModule
from sslbolts.data.frame_sampler import Clips, FramePairs, FrameSampler, FrameSampling, OrderedFrameSampler
from sslbolts.data.images import Images
from sslbolts.data.loader import Placement
from sslbolts.data.rank_sampler import overfits, place_of
from sslbolts.data.sampler import BatchPlan, EpochSampler
from sslbolts.data.views import Draft, TrainingViews
from sslbolts.errors import UsageError
from sslbolts.training.frame_places import FramePlaces

__all__ = ["FrameArguments", "FrameViews", "FrameWindows"]


class FrameArguments(DataArguments, total=False):
    """Arguments of every DataModule of videos, besides its own; ``batch_size`` is frames, or pairs of frames.

    Attributes:
        rows_per_sequence: frames (or pairs) of a batch that come from one sequence; all of them by default, None.
        pairs: "none", the default, gives consecutive frames of one view of a sequence; "views" pairs of frames of one
            moment in two different views; "times" pairs of frames of one view, ``lag`` frames apart.
        time_window: of pairs of views, consecutive moments out of which those of a batch are drawn; None is 580.
        lag: of pairs of times, frames between the two; None is 30.
        windows_per_sequence: how often an epoch visits every sequence; once by default.
    """

    rows_per_sequence: int | None
    pairs: FramePairs
    time_window: int | None
    lag: int | None
    windows_per_sequence: int


# For the help of DataModules, which looks for the others' descriptions here too.
FrameArguments.__doc__ = f"{DataArguments.__doc__}{(FrameArguments.__doc__ or '').partition('Attributes:')[2]}"


class FrameViews(TrainingViews):
    """Batches of views of frames, with the places of all frames.

    Args:
        views: makes the views.
        places: of the frames, by row.
        pairs: whether a batch's rows are anchors, then positives, which become two views of as many pairs.
    """

    def __init__(self, views: TrainingViews, places: FramePlaces, *, pairs: bool) -> None:
        self.views = views
        self.frame_places = places
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.frame_places.times)

    def __getitem__(self, plan: BatchPlan) -> Draft | ViewBatch:
        made = self.views[plan]
        return self._paired(made) if isinstance(made, ViewBatch) else made

    def finish(self, draft: Draft) -> ViewBatch:
        """The finished batch, on the device where the draft is."""
        return self._paired(self.views.finish(draft))

    def _paired(self, batch: ViewBatch) -> ViewBatch:
        if not self.pairs:
            return batch
        (frames,) = batch.views
        half = len(frames) // 2
        return ViewBatch([frames[:half], frames[half:]], batch.targets[:half], batch.indices[:half])


class FrameWindows(SSLDataModule):
    """Training batches of frames, drawn by :class:`~sslbolts.data.frame_sampler.FrameSampler`.

    A batch is a :class:`~sslbolts.batch.ViewBatch` like any other. Of pairs it has two views, anchors and positives,
    and targets and indices are those of the anchors. Sequence and time of a frame are had by its index, from the
    attribute ``frame_places`` of the training loader's dataset.

    Args:
        **arguments: those of :class:`FrameArguments`.
    """

    def __init__(
        self,
        *args: Any,
        rows_per_sequence: int | None = None,
        pairs: FramePairs = "none",
        time_window: int | None = None,
        lag: int | None = None,
        windows_per_sequence: int = 1,
        **arguments: Any,
    ) -> None:
        super().__init__(*args, **arguments)
        self.pairs = pairs
        self._settings: dict[str, Any] = {
            "rows_per_sequence": rows_per_sequence,
            "pairs": pairs,
            "time_window": time_window,
            "lag": lag,
            "windows_per_sequence": windows_per_sequence,
        }
        if self.sampling.pairs != "none" and len(self.views.views) != 1:
            raise UsageError(
                f"views= makes {len(self.views.views)} views of a frame, and pairs of frames take one: give "
                "views=tcn_multiview, or another recipe of one view."
            )

    @property
    def sampling(self) -> FrameSampling:
        """How a batch is drawn; ``batch_size`` may change."""
        return FrameSampling(rows=self.batch_size, **self._settings)

    @property
    def clips(self) -> Clips:
        """The training frames, in the order of the training images."""
        raise NotImplementedError(f"{type(self).__name__} must define clips.")

    def _make_views(self, images: Images, place: Placement) -> FrameViews:
        return FrameViews(super()._make_views(images, place), self.clips.places(), pairs=self.pairs != "none")

    def _make_sampler(self, images: Images) -> EpochSampler:
        if self.draws is not None:
            raise UsageError("sampling= draws images, and here videos are visited: leave it out.")
        clips, sampling = self.clips, self.sampling
        if len(images) != int(clips.lengths.sum()):
            raise UsageError(
                f"there are {len(images):,} training images, and {int(clips.lengths.sum()):,} frames in the sequences: "
                "images that were exchanged have no time."
            )
        if message := sampling.left_out(clips):
            rank_zero_warn(message)
        overfit = overfits(self._current_trainer)
        return (OrderedFrameSampler if overfit else FrameSampler)(
            clips,
            sampling,
            seed=self._settled_seed(),
            **place_of(self._current_trainer),
            shuffle=not overfit,
            drop_last=self.drop_last,
        )
