"""What all DataModules share: arguments, loaders, and where augmentation runs."""

import copy
import os
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch.utils.data import DataLoader

from sslbolts import distributed
from sslbolts._lightning import LightningDataModule, rank_zero_info
from sslbolts.batch import ViewBatch
from sslbolts.data import arguments
from sslbolts.data.evaluation import EvaluationBatch, EvaluationImages, collate, untouched
from sslbolts.data.images import Images, TensorImages
from sslbolts.data.labels import keep_labels
from sslbolts.data.loader import Placement, TrainLoader, automatic_workers, silence_advice, worker_for_memory
from sslbolts.data.progress import Progress
from sslbolts.data.sampler import EpochSampler, OrderedEpochSampler
from sslbolts.data.views import Augment, CroppedViews, Draft, TensorViews
from sslbolts.errors import UsageError, no_such_argument
from sslbolts.transforms import BatchedEvaluate, MultiCrop, MultiView, evaluation
from sslbolts.transforms.preprocessing import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["SSLDataModule", "Split"]

Split = Literal["train", "val", "test", "bank"]

_MOST_RESIDENT_BYTES = 2**30  # of images that are kept on the accelerator; beyond, they travel with the batch


class SSLDataModule(LightningDataModule):
    """Training batches of views, and evaluation batches of the same and of other images.

    ``train_dataloader`` gives :class:`~sslbolts.batch.ViewBatch`; ``val_dataloader`` (queries), ``test_dataloader``,
    ``bank_dataloader`` (labelled training images) and ``predict_dataloader`` give ``(images, targets, indices)`` under
    evaluation transforms: every image once, in order. The images of a batch may be uint8, and views may be missing,
    until :meth:`on_after_batch_transfer` finishes them on the device.

    A data set is a subclass with one method, :meth:`load`, which says where the images of a split come from.

    What views draw is a function of (seed, epoch, batch, rank), whatever the number of workers. The seed is in the
    checkpoint, and a resumed run goes on with the batch that would have come next, also in the middle of an epoch. With
    another batch size or number of devices, its epochs begin where they did.

    Args:
        batch_size: images per batch and device.
        views: name of a recipe ("simclr", "byol", "dino", ...; see ``sslbolts.transforms.RECIPES``), or a recipe of
            your own.
        image_size: side of the views and of evaluation images, pixels; None is the data set's own (or that of the
            first view, if ``views`` is a recipe of your own).
        num_workers: processes that make batches; None chooses.
        augment_on: "device": crops (of images in memory) and all photometric operations run batched on the training
            device; "worker": in the loader; "auto": on the device if it is an accelerator.
        color: "exact" is torchvision's color jitter; "linear" is faster and approximate.
        eval_batch_size: images per evaluation batch and device; None is ``batch_size``.
        drop_last: leave out the last images of an epoch that do not fill a batch on every device.
        seed: of order and views; None takes that of ``seed_everything``, or else torch's, from rank 0.
        mean: per channel, in [0, 1]; None is the data set's own. None in the attribute where views are not normalized.
        std: per channel, in [0, 1]; as ``mean``.
        in_chans: channels of an image: 1, 3 or 4.
        predict_on: the images that ``predict_dataloader`` gives.
        persistent_workers: keep worker processes between epochs; None does where there are any.
        labels_per_class: leave only so many training images of each class their labels, drawn with the seed; the
            others are trained on with label -1 (semi-supervised learning). None leaves all. Monitors see all.

    Raises:
        UsageError: for a value outside its range, or two that exclude each other.
    """

    native_size = 224
    """Side of an image, pixels, where ``image_size`` says nothing."""
    pixel_mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of the training images' pixels per channel, in [0, 1]; here ImageNet's."""
    pixel_std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of the training images' pixels per channel, in [0, 1]; here ImageNet's."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes, in the order of their labels; None where there are no labels."""

    def __init__(
        self,
        *,
        batch_size: int = 256,
        views: str | MultiView | MultiCrop = "simclr",
        image_size: int | None = None,
        num_workers: int | None = None,
        augment_on: Literal["auto", "device", "worker"] = "auto",
        color: Literal["exact", "linear"] = "exact",
        eval_batch_size: int | None = None,
        drop_last: bool = True,
        seed: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        in_chans: int = 3,
        predict_on: Literal["train", "val", "test", "bank"] = "train",
        persistent_workers: bool | None = None,
        labels_per_class: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise UsageError(no_such_argument(type(self), *unknown))
        super().__init__()
        for name, number, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("image_size", image_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
            ("labels_per_class", labels_per_class, 1),
        ):
            arguments.at_least(name, number, least)
        arguments.one_of("augment_on", augment_on, ("auto", "device", "worker"))
        arguments.one_of("color", color, ("exact", "linear"))
        arguments.one_of("predict_on", predict_on, ("train", "val", "test", "bank"))
        if in_chans not in (1, 3, 4):
            raise UsageError(f"in_chans={in_chans} must be 1 (grayscale), 3 (RGB) or 4 (RGBA).")
        if persistent_workers and num_workers == 0:
            raise UsageError("persistent_workers=True needs workers, but num_workers=0: leave one of them out.")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.augment_on = augment_on
        self.color: Literal["exact", "linear"] = color
        self.drop_last = drop_last
        self.in_chans = in_chans
        self.predict_on = predict_on
        self.persistent_workers = persistent_workers
        self.labels_per_class = labels_per_class
        self._labels: torch.Tensor | None = None  # of the training images, where not all keep theirs
        self.image_size, self.views = arguments.size_and_views(image_size, views, self.native_size)
        self.mean, self.std = arguments.statistics(
            mean, std, default=(self.pixel_mean, self.pixel_std), normalize=self.views.normalize, in_chans=in_chans
        )
        self._given_seed = seed
        self._seed, self._progress = seed, Progress()
        self._images: dict[str, Images | None] = {}
        self._train_views: TensorViews | CroppedViews | None = None
        self._evaluate = BatchedEvaluate(untouched(self.image_size), mean=self.mean, std=self.std)

    # ------------------------------------------------------------------ what a data set says

    def load(self, split: Split) -> Images | None:
        """The images of a split, or None where there are none. Called once per split and process.

        Args:
            split: "train"; "val": queries, monitored while training runs; "test"; "bank": labelled images that
                queries are compared with.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load(split).")

    @property
    def num_classes(self) -> int:
        """Number of classes.

        Raises:
            UsageError: if there are no labels.
        """
        if self.class_names is None:
            raise UsageError(f"{type(self).__name__} has no labels, so it has no num_classes: {self._labels_hint()}")
        return len(self.class_names)

    @property
    def num_train_images(self) -> int:
        """Number of images that an epoch goes through."""
        return len(self._split("train"))

    def with_views(
        self, views: MultiView | MultiCrop, *, mean: Sequence[float] | None, std: Sequence[float] | None
    ) -> Self:
        """The same images under other views and another normalization, for what comes after training.

        Args:
            views: a recipe of the same ``image_size``.
            mean: per channel, in [0, 1]; None leaves images in [0, 1].
            std: as ``mean``.
        """
        other = copy.copy(self)
        other.views = views
        other.mean, other.std = (None, None) if mean is None or std is None else (tuple(mean), tuple(std))
        other._evaluate = BatchedEvaluate(untouched(self.image_size), mean=other.mean, std=other.std)
        other._train_views = other._labels = None
        other._progress = Progress()
        other.trainer = None
        return other

    # ------------------------------------------------------------------ loaders

    def setup(self, stage: str | None = None) -> None:
        """Settles the seed, the same on all ranks. Images are loaded when a loader first needs them."""
        if self._seed is None:
            seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed() % 2**63))
            self._seed = seed if self.trainer is None else self.trainer.strategy.broadcast(seed)
        silence_advice()

    def train_dataloader(self) -> TrainLoader:
        """Batches of views; outside a Trainer, :meth:`on_after_batch_transfer` finishes them."""
        images = self._split("train")
        self._labels = self._kept_labels(images)
        place = self._placement(images)
        self._train_views = self._view_dataset(images, place)
        trainer = self.trainer
        overfit = getattr(trainer, "overfit_batches", 0) > 0
        shares = (trainer and trainer.distributed_sampler_kwargs) or {
            "num_replicas": distributed.world_size(),
            "rank": distributed.rank(),
        }
        sampler = (OrderedEpochSampler if overfit else EpochSampler)(
            len(images),
            self.batch_size,
            seed=self._settled_seed(),
            rank=shares["rank"],
            world_size=shares["num_replicas"],
            shuffle=not overfit,
            drop_last=self.drop_last,
        )
        self._progress.per_epoch = len(sampler)
        keep = self.persistent_workers is not False
        return TrainLoader(
            self._train_views,
            sampler,
            position=self._position,
            **place.loader_settings(place.workers, keep_workers=keep),
        )

    def val_dataloader(self) -> Any:
        """Queries: the images on which the representation is monitored while it trains."""
        return self._evaluation_loader("val", keep_workers=True) or []

    def test_dataloader(self) -> Any:
        """Images for the final number."""
        return self._evaluation_loader("test") or []

    def bank_dataloader(self) -> DataLoader[Any]:
        """Labelled training images under evaluation transforms.

        Its ``dataset`` and ``collate_fn`` can be put into another DataLoader, to share them among ranks.

        Raises:
            UsageError: if there are no labels.
        """
        images = self._split("bank")
        if not images.labelled:
            raise UsageError(f"{type(self).__name__} has no labelled training images for a bank: {self._labels_hint()}")
        loader = self._evaluation_loader("bank")
        assert loader is not None
        return loader

    def predict_dataloader(self) -> DataLoader[Any]:
        """The images of ``predict_on`` under evaluation transforms."""
        loader = self._evaluation_loader(self.predict_on)
        if loader is None:
            raise UsageError(f'{type(self).__name__} has no images for predict_on="{self.predict_on}".')
        return loader

    def train_images_dataloader(self) -> DataLoader[Any]:
        """The training images under evaluation transforms, for methods that look at all of them between epochs."""
        self._split("train")
        loader = self._evaluation_loader("train")
        assert loader is not None
        return loader

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finishes a batch where it lies: views of a :class:`Draft`, and evaluation images that are still uint8."""
        if isinstance(batch, Draft):
            assert self._train_views is not None
            batch = self._train_views.finish(batch)
        elif isinstance(batch, tuple | list) and not isinstance(batch, ViewBatch) and batch and _is_uint8(batch[0]):
            batch = (self._evaluate(batch[0]), *batch[1:])
        if isinstance(batch, ViewBatch) and self._labels is not None:
            self._labels = self._labels.to(batch.indices.device)
            batch = batch._replace(targets=self._labels[batch.indices])
        # Lightning has converted inputs to a half-precision model's type already, but these are made only now.
        return batch if self.trainer is None else self.trainer.precision_plugin.convert_input(batch)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The seed: with it, a resumed run draws what the uninterrupted one would. And what the images looked like.

        What comes after training, such as evaluation on other data, so finds the normalization that the network knows.
        """
        return {
            "seed": self._settled_seed(),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "image_size": self.image_size,
            "in_chans": self.in_chans,
            **self._progress.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed of the checkpoint, unless ``seed=`` was given, and its place among the batches."""
        if self._given_seed is None:
            self._seed = int(state_dict["seed"])
        self._progress.load_state_dict(state_dict)

    # ------------------------------------------------------------------ inside

    def _settled_seed(self) -> int:
        if self._seed is None:
            self.setup()
        assert self._seed is not None
        return self._seed

    def _loaded(self, split: str) -> Images | None:
        if split not in self._images:
            images = self.load(split)  # type: ignore[arg-type]
            if images is not None and len(images) == 0:
                raise UsageError(f'{type(self).__name__} has no images in its "{split}" split.')
            if images is not None and images.in_chans != self.in_chans:
                raise UsageError(
                    f"{type(self).__name__} has images of {images.in_chans} channels, but in_chans={self.in_chans}."
                )
            self._images[split] = images
        return self._images[split]

    def _split(self, split: str) -> Images:
        images = self._loaded(split)
        if images is None:
            raise UsageError(f'{type(self).__name__} has no images for "{split}".')
        return images

    def _kept_labels(self, images: Images) -> torch.Tensor | None:
        if self.labels_per_class is None:
            return None
        targets = getattr(images, "targets", None)
        if targets is None or not images.labelled:
            raise UsageError(
                f"labels_per_class={self.labels_per_class} needs training images whose labels are known before they "
                "are read: labelled folders, a named data set, or in_memory=True."
            )
        return keep_labels(targets, self.labels_per_class, seed=self._settled_seed())

    def _labels_hint(self) -> str:
        return "labels are needed only for kNN and probes; use a labelled data set for them, or switch them off."

    def _position(self) -> tuple[int, int] | None:
        return self._progress.position(self.trainer)

    def _view_dataset(self, images: Images, place: Placement) -> TensorViews | CroppedViews:
        shared_flip = isinstance(self.views, MultiView) and self.views.shared_flip
        augment = Augment(self.views.views, mean=self.mean, std=self.std, color=self.color, shared_flip=shared_flip)
        if isinstance(images, TensorImages):
            resident = place.on_device and images.data.nbytes <= _MOST_RESIDENT_BYTES
            return TensorViews(images, augment, finish_here=not place.on_device, resident=resident)
        return CroppedViews(images, self.views.views, augment, finish_here=not place.on_device)

    def _placement(self, images: Images) -> Placement:
        """Where the views of these images are made; said in one line."""
        trainer = self.trainer
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        accelerator = device.type != "cpu"
        processes = 1 if trainer is None else trainer.num_devices
        on_device = self.augment_on == "device" or (self.augment_on == "auto" and accelerator)
        workers = self.num_workers
        if isinstance(images, TensorImages):
            if on_device and self.augment_on == "device" and workers:
                raise UsageError(
                    f'num_workers={workers} has no effect with augment_on="device": images in memory need no workers '
                    'there. Leave num_workers out, or give augment_on="worker".'
                )
            one = worker_for_memory(processes) or int(self.persistent_workers is True)
            workers = 0 if on_device else one if workers is None else workers
        elif workers is None:
            workers = automatic_workers(processes, accelerator=accelerator)
        if self.persistent_workers and workers == 0:
            raise UsageError("persistent_workers=True, but no workers are needed here: leave it out.")
        where = f"on {device}" if on_device else "in the training process" if workers == 0 else "in the loader"
        first = "" if isinstance(images, TensorImages) else "cropped in the loader, "
        rank_zero_info(
            f"{len(images):,} training images: {first}augmented {where} (worker processes: {workers}, "
            f"views: {len(self.views.views)})."
        )
        return Placement(device, on_device, workers)

    def _evaluation_loader(self, split: str, *, keep_workers: bool = False) -> DataLoader[EvaluationBatch] | None:
        images = self._loaded(split)
        if images is None:
            return None
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        workers = 0
        if not isinstance(images, TensorImages):
            processes = 1 if self.trainer is None else self.trainer.num_devices
            automatic = automatic_workers(processes, accelerator=device.type != "cpu")
            workers = automatic if self.num_workers is None else self.num_workers
        keep = keep_workers and self.persistent_workers is not False
        return DataLoader(
            EvaluationImages(images, evaluation(self.image_size)),  # type: ignore[arg-type]  # collate makes the batch
            batch_size=self.eval_batch_size,
            collate_fn=collate,
            **Placement(device, True, workers).loader_settings(workers, keep_workers=keep),
        )


def _is_uint8(images: Any) -> bool:
    return isinstance(images, torch.Tensor) and images.dtype == torch.uint8
