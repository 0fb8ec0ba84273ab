"""Batches of views: the part that is made in a worker, and the rest, which is done where the batch lands."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslbolts.batch import ViewBatch
from sslbolts.data.arguments import Color
from sslbolts.data.decode import ImageError
from sslbolts.data.images import Images, Label, TensorImages, UnreadableImage, dtype_of
from sslbolts.data.loader import Placement, has_transforms
from sslbolts.data.sampler import BatchPlan
from sslbolts.training.seeds import generator
from sslbolts.transforms import BatchedAugment, MultiCrop, MultiView, View, random_crops
from sslbolts.transforms.levels import rows_of

__all__ = ["Augment", "CroppedViews", "Draft", "TensorViews", "TrainingViews", "training_views"]

_CROPS, _FLIPS = 0, -1  # what a generator of a batch is for; 1, 2, ... are the groups of equal views
_MOST_SUBSTITUTES = 100
_MOST_RESIDENT_BYTES = 2**30  # of images that are kept on the accelerator; beyond, they travel with the batch


class Draft(NamedTuple):
    """A batch whose views are not finished: Lightning moves it to the device, and there they are.

    Attributes:
        images: what the views are made from, uint8 or uint16: one tensor ``(B, C, H, W)`` of whole images; or one
            tensor of crops ``(B, C, H_v, W_v)`` per view; or nothing where the images are on the device already.
        targets: ``(B,)`` int64, or ``(B, C)`` of several classes.
        indices: ``(B,)`` int64.
        seed: of the batch.
    """

    images: list[Tensor]
    targets: Tensor
    indices: Tensor
    seed: int


class TrainingViews(Dataset[Draft | ViewBatch]):
    """A dataset of whole batches, some of which are finished elsewhere."""

    def __len__(self) -> int:
        raise NotImplementedError

    def finish(self, draft: Draft) -> ViewBatch:
        """The finished batch, on the device where the draft is."""
        raise NotImplementedError


class Augment:
    """Finishes the views of a batch; equal views are made in one go.

    Args:
        views: in the order in which the method gets them.
        mean: per channel, in [0, 1]; None does not normalize.
        std: per channel, in [0, 1].
        color: "exact" or "linear".
        color_channels: those that color operations change; see :func:`sslbolts.transforms.color_channels`.
        shared_flip: flip all views of an image, or none.
    """

    def __init__(
        self,
        views: Sequence[View],
        *,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        color: Color,
        color_channels: Sequence[int] | None = None,
        shared_flip: bool = False,
    ) -> None:
        self.color = color
        self.color_channels = color_channels
        self.shared_flip = shared_flip
        self.groups = [
            (BatchedAugment(view, mean=mean, std=std, color=color, color_channels=color_channels), len(list(equal)))
            for view, equal in groupby(views)
        ]

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor], seed: int, *, crop: bool) -> list[Tensor]:
        """All views.

        Args:
            images: uint8 or uint16, one tensor of whole images if ``crop``, else one tensor of crops per view.
            seed: of the batch.
            crop: whether the crops are still to be made.

        Returns:
            one float tensor ``(B, C, H_v, W_v)`` per view.
        """
        views: list[Tensor] = []
        flip: Tensor | None = None
        if self.shared_flip:
            drawn = generator(seed, _FLIPS, device=images[0].device)
            flip = torch.rand(len(images[0]), device=images[0].device, generator=drawn) < self.groups[0][0].view.flip
        for number, (augment, count) in enumerate(self.groups, start=1):
            group = list(images) * count if crop else images[len(views) : len(views) + count]
            together = group[0] if count == 1 else torch.cat(list(group))
            drawn = generator(seed, number, device=together.device)
            flips = None if flip is None else flip.repeat(count)
            views += augment(together, generator=drawn, crop=crop, flip=flips).chunk(count)
        return views


class TensorViews(TrainingViews):
    """Batches of views of images that are held as one tensor: crops, too, are made for the whole batch.

    Args:
        images: the training images.
        augment: makes the views.
        finish_here: make the whole batch here, in the worker.
        resident: a batch to be finished on a device finds its images there: only its indices travel.
    """

    def __init__(self, images: TensorImages, augment: Augment, *, finish_here: bool, resident: bool) -> None:
        self.images = images
        self.augment = augment
        self.finish_here = finish_here
        self.resident = resident
        self._on_device: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, plan: BatchPlan) -> Draft | ViewBatch:
        pixels = [] if self.resident and not self.finish_here else [rows_of(self.images.data, plan.indices)]
        draft = Draft(pixels, self.images.targets[plan.indices], plan.indices, plan.seed)
        return self.finish(draft) if self.finish_here else draft

    def finish(self, draft: Draft) -> ViewBatch:
        """The finished batch, on the device where the draft is."""
        images = draft.images
        if not images:
            device = draft.indices.device
            if self._on_device is None or self._on_device.device != device:
                self._on_device = self.images.data.to(device)
            images = [rows_of(self._on_device, draft.indices)]
        return ViewBatch(self.augment(images, draft.seed, crop=True), draft.targets, draft.indices)


class CroppedViews(TrainingViews):
    """Batches of views of images that are read one by one: decoded once, one crop per view, still in levels.

    Args:
        images: the training images.
        views: in the order in which the method gets them.
        augment: makes the rest of the views.
        finish_here: make the whole batch here, in the worker.
    """

    def __init__(self, images: Images, views: Sequence[View], augment: Augment, *, finish_here: bool) -> None:
        self.images = images
        self.views = tuple(views)
        self.augment = augment
        self.finish_here = finish_here

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, plan: BatchPlan) -> Draft | ViewBatch:
        drawn = generator(plan.seed, _CROPS)
        images, indices = self.images, plan.indices.tolist()
        targets: list[Label] = []
        # Laid out as (B, H, W, C), like the pixels of decoders and of the resize: crops are copied, not transposed.
        crops = [
            torch.empty(len(indices), view.size, view.size, images.in_chans, dtype=dtype_of(images)).permute(0, 3, 1, 2)
            for view in self.views
        ]
        for row in range(len(indices)):
            image, target = self._read(row, indices, drawn)
            targets.append(target)
            out = [view[row] for view in crops]
            random_crops(
                image,
                self.views,
                generator=drawn,
                out=out,
                color=self.augment.color,
                color_channels=self.augment.color_channels,
            )
        labels = torch.stack([torch.as_tensor(target) for target in targets])
        draft = Draft(crops, labels, torch.tensor(indices), plan.seed)
        return self.finish(draft) if self.finish_here else draft

    def finish(self, draft: Draft) -> ViewBatch:
        """The finished batch, on the device where the draft is."""
        return ViewBatch(self.augment(draft.images, draft.seed, crop=False), draft.targets, draft.indices)

    def _read(self, row: int, indices: list[int], drawn: torch.Generator) -> tuple[Tensor, Label]:
        """The image of a row; if it cannot be read, another one, which is not in the batch yet, takes its place.

        The batch keeps its size: ranks must hold equally many images, and queues are filled by whole batches.
        """
        last = ""
        for _ in range(_MOST_SUBSTITUTES):
            try:
                return self.images.read(indices[row])
            except UnreadableImage as unreadable:
                last = str(unreadable)
                while (other := int(torch.randint(len(self), (), generator=drawn))) in indices and len(self) > len(
                    indices
                ):
                    pass
                indices[row] = other
        raise ImageError(  # whose message is the same when it comes from a worker
            f"{_MOST_SUBSTITUTES} images in a row could not be used, the last of them {last.rstrip('.')}. "
            'on_bad_image="skip" is for a few bad files. Have the files been moved or deleted?'
        )


def training_views(
    images: Images,
    views: MultiView | MultiCrop,
    place: Placement,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    color: Color,
    color_channels: Sequence[int] | None = None,
) -> TrainingViews:
    """The dataset of a training loader.

    Args:
        images: the training images.
        views: a recipe.
        place: where they are finished.
        mean, std, color, color_channels: as of :class:`Augment`.
    """
    shared_flip = isinstance(views, MultiView) and views.shared_flip
    augment = Augment(
        views.views, mean=mean, std=std, color=color, color_channels=color_channels, shared_flip=shared_flip
    )
    if isinstance(images, TensorImages) and not has_transforms(views):
        resident = place.on_device and images.data.nbytes <= _MOST_RESIDENT_BYTES
        return TensorViews(images, augment, finish_here=not place.on_device, resident=resident)
    return CroppedViews(images, views.views, augment, finish_here=not place.on_device)
