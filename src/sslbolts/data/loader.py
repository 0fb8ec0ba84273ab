"""Loaders, and the place where their work is done."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts._lightning import Trainer, rank_zero_info
from sslbolts.data.arguments import AugmentOn
from sslbolts.data.images import Images, TensorImages, readable
from sslbolts.data.sampler import EpochSampler
from sslbolts.data.workers import automatic_workers, start_worker, worker_for_memory, worker_settings
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiCrop, MultiView, TransformsView
from sslbolts.transforms.own import seconds_per_image

__all__ = [
    "Placement",
    "TrainLoader",
    "evaluation_placement",
    "has_transforms",
    "silence_advice",
    "training_placement",
]


class TrainLoader(DataLoader[Any]):
    """A DataLoader of whole batches, in which a resumed run goes on with the batch that would have come next.

    The batches of all epochs are one stream, from which the Trainer takes an epoch's worth at a time; its own count of
    finished batches, which is in every checkpoint, says where it is. So batches that a worker had made in advance when
    a checkpoint was written are made again, and an epoch that ``max_steps`` or ``limit_train_batches`` cuts short is
    taken up where it stopped.

    Nothing is planned, and no worker started, before the first batch is asked for: Lightning makes the iterator before
    it restores its counts. (A loader's own state would not do: Lightning restores it only where nobody has asked for
    the number of steps of the run before.)

    Args:
        dataset: makes a batch from a plan.
        sampler: plans the batches of this rank.
        position: how many batches of the run are behind us, and how many of the current epoch; None, outside a
            Trainer, leaves it to ``sampler.set_epoch``.
        **settings: further arguments of ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: EpochSampler,
        *,
        position: Callable[[], tuple[int, int] | None],
        **settings: Any,
    ) -> None:
        super().__init__(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, **settings)
        self.position = position

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, for its laziness
        assert isinstance(self.sampler, EpochSampler)
        if (position := self.position()) is not None:
            self.sampler.go_on(*position)
        yield from super().__iter__()

    def draw_evenly_over(self, labels: Tensor) -> bool:
        """From the next epoch on, draw every label's images equally often; returns whether it is done.

        A method may ask this of any training loader that has such a function: when an epoch starts, and when a run goes
        on in the middle of one, since labels are not in the checkpoint of the loader. See
        :meth:`sslbolts.data.sampler.EpochSampler.draw_evenly_over`.

        Args:
            labels: ``(images,)``, equal on all ranks.
        """
        assert isinstance(self.sampler, EpochSampler)
        return self.sampler.draw_evenly_over(labels)

    def state_dict(self) -> dict[str, Any]:
        """Empty; that it is there tells Lightning that the loader can be resumed (see the class)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the position is in the Trainer's own counters."""


@dataclass(frozen=True)
class Placement:
    """The place where views are finished.

    Attributes:
        device: the training device.
        on_device: whether the rest of the augmentation runs there, after the transfer; else in the loader.
        workers: worker processes of the loader.
    """

    device: torch.device
    on_device: bool
    workers: int

    def loader_settings(self, *, keep_workers: bool) -> dict[str, Any]:
        """Arguments of a DataLoader with these workers."""
        return {
            **worker_settings(self.workers),
            "pin_memory": self.device.type == "cuda",
            "persistent_workers": keep_workers and self.workers > 0,
            "worker_init_fn": start_worker if self.workers else None,
        }

    def __str__(self) -> str:
        if self.on_device:
            return f"on {self.device}"
        return "in the loader" if self.workers else "in the training process"


def training_placement(
    images: Images,
    trainer: Trainer | None,
    *,
    views: MultiView | MultiCrop,
    augment_on: AugmentOn,
    num_workers: int | None,
    persistent_workers: bool | None,
) -> Placement:
    """The place where the views of training images are made, which one line of information says.

    Args:
        images: the training images.
        trainer: whose device and processes count; None is one process on the CPU.
        views: of each image; what transforms of torchvision take for them is measured, and said.
        augment_on, num_workers, persistent_workers: as given to the DataModule.

    Raises:
        UsageError: for workers where none are needed.
    """
    device, processes = _machine(trainer)
    on_device = augment_on == "device" or (augment_on == "auto" and device.type != "cpu")
    workers = num_workers
    in_memory = isinstance(images, TensorImages) and not has_transforms(views)  # and made for a batch at once
    if in_memory:
        if augment_on == "device" and workers:
            raise UsageError(
                f'num_workers={workers} has no effect with augment_on="device": images in memory need no workers '
                'there. Leave num_workers out, or give augment_on="worker".'
            )
        one = worker_for_memory(processes) or int(persistent_workers is True)
        workers = 0 if on_device else one if workers is None else workers
    elif workers is None:
        workers = automatic_workers(processes, accelerator=device.type != "cpu")
    if persistent_workers and workers == 0:
        raise UsageError("persistent_workers=True, but no workers are needed here: leave it out.")
    place = Placement(device, on_device, workers)
    first = "" if in_memory else "cropped in the loader, "
    count = len(views.views)
    rank_zero_info(
        f"{len(images):,} training images: {first}augmented {place} (worker processes: {workers}, views: {count})."
    )
    if has_transforms(views):
        own = [view for view in views.views if isinstance(view, TransformsView)]
        seconds = seconds_per_image(readable(images, range(len(images)), 5), own)
        rank_zero_info(
            f"{len(own)} of {count} views are made by torchvision's transforms, image by image: "
            f"{1000 * seconds:.1f} ms per image on one core, at most {1 / max(seconds, 1e-6):,.0f} images per second "
            "and worker."
        )
    return place


def has_transforms(views: MultiView | MultiCrop) -> bool:
    """True if any view is made by transforms of torchvision, image by image."""
    return any(isinstance(view, TransformsView) for view in views.views)


def evaluation_placement(images: Images, trainer: Trainer | None, *, num_workers: int | None) -> Placement:
    """The place where evaluation images are prepared: the device, and workers where images are read one by one."""
    device, processes = _machine(trainer)
    if isinstance(images, TensorImages):
        return Placement(device, True, 0)
    automatic = automatic_workers(processes, accelerator=device.type != "cpu")
    return Placement(device, True, automatic if num_workers is None else num_workers)


def _machine(trainer: Trainer | None) -> tuple[torch.device, int]:
    """The device, and the number of training processes on this machine."""
    return (torch.device("cpu"), 1) if trainer is None else (trainer.strategy.root_device, trainer.num_devices)


def silence_advice() -> None:
    """Silences Lightning where it advises more workers (these loaders have what they need), or misses queries."""
    warnings.filterwarnings("ignore", message=".*_dataloader' does not have many workers")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")


def _as_it_is(batch: Any) -> Any:
    return batch
