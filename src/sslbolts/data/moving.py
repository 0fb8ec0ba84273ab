"""Videos made of the packaged images: each is panned and zoomed over, as by two cameras."""

from functools import cached_property
from typing import Unpack

import torch
from torch import Tensor

from sslbolts.batch import ViewBatch
from sslbolts.checks import whole
from sslbolts.data.arguments import Split
from sslbolts.data.cifar import CIFAR10MiniDataModule
from sslbolts.data.frame_sampler import Clips
from sslbolts.data.frame_windows import FrameArguments, FrameViews, FrameWindows
from sslbolts.data.images import Images, TensorImages
from sslbolts.data.loader import Placement
from sslbolts.data.sampler import BatchPlan
from sslbolts.data.views import Augment, Draft, TrainingViews
from sslbolts.transforms import MultiView
from sslbolts.transforms.geometry import resized_crop

__all__ = ["MovingImages", "MovingImagesDataModule"]

_CAMERAS = 2
_SIDES = (0.45, 0.95)  # least and greatest part of an image's side that a frame shows


class MovingImagesDataModule(FrameWindows, CIFAR10MiniDataModule):
    """The packaged images as short videos, for trying out methods that learn from time: no data is needed.

    Two cameras pan and zoom over each of the 5,000 training images, on straight paths that are drawn once and for all:
    the videos are the same in every run. Bank, val and test are the images themselves, as of
    :class:`~sslbolts.data.CIFAR10MiniDataModule`.

    Args:
        frames: of each video, of each camera.
        **common: :class:`~sslbolts.data.frame_windows.FrameArguments`; of :class:`~sslbolts.TimeContrastive` the views
            are "tcn", and for pairs "tcn_multiview".

    Raises:
        UsageError: for a value out of its range.

    Example:
        >>> data = MovingImagesDataModule(batch_size=64, rows_per_sequence=8, views="tcn", num_workers=0)
        >>> batch = next(iter(data.train_dataloader()))
        >>> len(batch.views), tuple(batch.views[0].shape), len(batch.targets.view(8, 8).unique(dim=1)[0])
        (1, (64, 3, 32, 32), 1)
    """

    def __init__(self, *, frames: int = 32, **common: Unpack[FrameArguments]) -> None:
        super().__init__(**common)
        whole(2, frames=frames)
        self.frames = frames

    @cached_property
    def clips(self) -> Clips:
        """Two clips of every image."""
        clips = len(self.images("train")) // self.frames
        return Clips(torch.full((clips,), self.frames), torch.arange(clips) // _CAMERAS)

    def load(self, split: Split) -> Images:  # type: ignore[override]  # frames are not held
        """Frames for "train", else images."""
        images = super().load(split)
        return MovingImages(images, frames=self.frames) if split == "train" else images

    def _make_views(self, images: Images, place: Placement) -> FrameViews:
        assert isinstance(images, MovingImages)
        shared_flip = isinstance(self.views, MultiView) and self.views.shared_flip
        augment = Augment(
            self.views.views,
            mean=self.mean,
            std=self.std,
            color=self.color,
            color_channels=self.color_channels,
            shared_flip=shared_flip,
        )
        views = MovingViews(images, augment, finish_here=not place.on_device)
        return FrameViews(views, self.clips.places(), pairs=self.pairs != "none")


class MovingImages:
    """Frames of cameras over still images: of each image the frames of the first camera, then those of the second.

    Args:
        images: square.
        frames: of each camera.

    Example:
        >>> moving = MovingImages(TensorImages(torch.zeros(3, 3, 32, 32, dtype=torch.uint8)), frames=10)
        >>> len(moving), moving.read(59)[0].shape
        (60, torch.Size([3, 32, 32]))
    """

    def __init__(self, images: TensorImages, *, frames: int) -> None:
        self.data = images.data
        self.frames = frames
        self.in_chans = images.in_chans
        self.dtype = images.dtype
        self.labeled = images.labeled
        self.targets = images.targets.repeat_interleave(_CAMERAS * frames)
        drawn = torch.Generator().manual_seed(0)
        # Start and end of each path: row, column and side, all from 0 to 1.
        self._paths = torch.rand(len(images) * _CAMERAS, 2, 3, generator=drawn)

    def __len__(self) -> int:
        return len(self.targets)

    def stills(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images ``(B, C, S, S)`` uint8 that frames show parts of, and those parts, ``(B, 4)`` as boxes."""
        size = self.data.shape[-1]
        clips, times = rows // self.frames, rows % self.frames
        done = (times / (self.frames - 1))[:, None]
        down, right, zoom = torch.lerp(self._paths[clips, 0], self._paths[clips, 1], done).unbind(1)
        side = ((_SIDES[0] + (_SIDES[1] - _SIDES[0]) * zoom) * size).round()
        boxes = torch.stack(((down * (size - side)).round(), (right * (size - side)).round(), side, side), 1)
        return self.data[clips // _CAMERAS], boxes

    def read(self, index: int) -> tuple[Tensor, int]:
        """Frame ``(C, S, S)`` uint8 and the label of its image."""
        frame = shown(*self.stills(torch.tensor([index])))[0]
        return (frame * 255).round().to(torch.uint8), int(self.targets[index])


def shown(stills: Tensor, boxes: Tensor) -> Tensor:
    """What cameras see: the boxes ``(B, 4)`` of images ``(B, C, S, S)``, as large as these, float in [0, 1]."""
    unflipped = torch.zeros(len(stills), dtype=torch.bool, device=stills.device)
    return resized_crop(stills, boxes, unflipped, stills.shape[-1], "bilinear")


class MovingViews(TrainingViews):
    """Batches of views of such frames, which are made for the whole batch where it lies.

    Args:
        images: the frames.
        augment: makes the views.
        finish_here: make the whole batch here, in the worker.
    """

    def __init__(self, images: MovingImages, augment: Augment, *, finish_here: bool) -> None:
        self.images = images
        self.augment = augment
        self.finish_here = finish_here

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, plan: BatchPlan) -> Draft | ViewBatch:
        draft = Draft(
            list(self.images.stills(plan.indices)), self.images.targets[plan.indices], plan.indices, plan.seed
        )
        return self.finish(draft) if self.finish_here else draft

    def finish(self, draft: Draft) -> ViewBatch:
        """The finished batch, on the device where the draft is."""
        frames = shown(*draft.images)
        return ViewBatch(self.augment([frames], draft.seed, crop=True), draft.targets, draft.indices)
