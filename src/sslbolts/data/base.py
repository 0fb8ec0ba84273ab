"""The base of all DataModules: their arguments, images and loaders, and where augmentation runs."""

import copy
from collections.abc import Sequence
from typing import Any, Never, Self, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sslbolts._lightning import rank_zero_info, rank_zero_warn
from sslbolts.batch import ViewBatch
from sslbolts.checks import one_of, whole
from sslbolts.data.arguments import AugmentOn, Color, DataArguments, Split, check_colors, size_and_views, statistics
from sslbolts.data.evaluation import EvaluationImages, collate, normalized
from sslbolts.data.images import Images, check_images
from sslbolts.data.labels import KeptLabels, check_multi_label
from sslbolts.data.loader import Placement, TrainLoader, evaluation_placement, training_placement
from sslbolts.data.mixed_sampler import check_mixture
from sslbolts.data.pixels import PixelForm
from sslbolts.data.progress import Progress
from sslbolts.data.rank_sampler import sampler_of
from sslbolts.data.sampler import EpochSampler
from sslbolts.data.splits import SplitImages
from sslbolts.data.views import Draft, TrainingViews, training_views
from sslbolts.data.weights import check_sampling, sampling_weights
from sslbolts.errors import UsageError, no_such_argument
from sslbolts.transforms import MultiCrop, MultiView, evaluation
from sslbolts.transforms.preprocessing import Preprocessing

__all__ = ["SSLDataModule", "Split"]


class SSLDataModule(SplitImages):
    """Training batches of views, and evaluation batches of the same and of other images.

    ``train_dataloader`` gives :class:`~sslbolts.batch.ViewBatch`; ``val_dataloader`` (queries), ``test_dataloader``,
    ``bank_dataloader`` (labeled training images) and ``predict_dataloader`` give ``(images, targets, indices)`` under
    evaluation transforms: every image once, in order. The images of a batch may be uint8, and views may be missing,
    until :meth:`on_after_batch_transfer` finishes them on the device.

    A data set is a subclass with one method, :meth:`~sslbolts.data.splits.SplitImages.load`, which says where the
    images of a split come from.

    What views draw is a function of (seed, epoch, batch, rank), whatever the number of workers. The seed is in the
    checkpoint, and a resumed run goes on with the batch that would have come next, also in the middle of an epoch. With
    another batch size or number of devices, its epochs begin where they did.

    Args:
        **arguments: those of :class:`~sslbolts.data.arguments.DataArguments`, which describes them.

    Raises:
        UsageError: for a value outside its range, or two that exclude each other.
    """

    native_size = 224
    """Side of an image, pixels, where ``image_size`` says nothing."""

    def __init__(
        self,
        *,
        batch_size: int = 256,
        views: str | MultiView | MultiCrop = "simclr",
        image_size: int | None = None,
        num_workers: int | None = None,
        augment_on: AugmentOn = "auto",
        color: Color = "exact",
        eval_batch_size: int | None = None,
        drop_last: bool = True,
        seed: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        measure_statistics: bool = False,
        in_chans: int = 3,
        value_range: Sequence[float] | Sequence[Sequence[float]] | None = None,
        color_channels: Sequence[int] | None = None,
        predict_on: Split = "train",
        persistent_workers: bool | None = None,
        labels_per_class: int | None = None,
        labels_fraction: float | None = None,
        labels_rows: str | Sequence[int] | None = None,
        labeled_batch_size: int | None = None,
        sampling: str | Sequence[float] | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise UsageError(no_such_argument(type(self), *unknown))
        super().__init__(seed)
        whole(batch_size=batch_size, eval_batch_size=eval_batch_size, image_size=image_size)
        if self.multi_label:
            check_multi_label(
                labels_per_class=labels_per_class,
                labels_fraction=labels_fraction,
                labels_rows=labels_rows,
                labeled_batch_size=labeled_batch_size,
                sampling=sampling if isinstance(sampling, str) else None,
            )
        self.kept_labels = KeptLabels(labels_per_class, labels_fraction, labels_rows)
        check_mixture(labeled_batch_size, batch_size, drop_last=drop_last)
        check_sampling(sampling, labeled_batch_size)
        whole(0, num_workers=num_workers, seed=seed)
        one_of(get_args(AugmentOn), augment_on=augment_on)
        one_of(get_args(Color), color=color)
        one_of(get_args(Split), predict_on=predict_on)
        self.form = PixelForm(in_chans, value_range)
        if persistent_workers and num_workers == 0:
            raise UsageError("persistent_workers=True needs workers, but num_workers=0: leave one of them out.")
        self.batch_size = batch_size
        self._eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.augment_on = augment_on
        self.color = color
        self.drop_last = drop_last
        self.in_chans = in_chans
        self.color_channels = color_channels
        self.predict_on = predict_on
        self.persistent_workers = persistent_workers
        self.labeled_batch_size = labeled_batch_size
        self.draws = sampling
        self.image_size, self.views = size_and_views(image_size, views, self.native_size)
        if lost := check_colors(in_chans, color_channels, self.views, own=not isinstance(views, str)):
            rank_zero_info(lost)
        self._statistics = statistics(
            mean,
            std,
            default=(self.pixel_mean, self.pixel_std) if self.form.pairs is None else ((), ()),
            normalize=self.views.normalize,
            in_chans=in_chans,
            measure=measure_statistics,
        )
        self._measured = False
        self._images: dict[str, Images | None] = {}
        self._train_views: TrainingViews | None = None
        self._labels: Tensor | None = None  # of the training images, where not all keep theirs

    __init__.__doc__ = DataArguments.__doc__  # for the help of subclasses

    @property
    def value_range(self) -> tuple[tuple[float, float], ...] | None:
        """The values that 0 and 1 in an image stand for, one pair or one per channel; None of 8 bits."""
        return self.form.pairs

    # ------------------------------------------------------------------ the same images otherwise

    @property
    def eval_batch_size(self) -> int:
        """Images per evaluation batch and device, as given or ``batch_size``."""
        return self._eval_batch_size or self.batch_size

    @eval_batch_size.setter
    def eval_batch_size(self, images: int) -> None:
        self._eval_batch_size = images

    def with_views(
        self, views: MultiView | MultiCrop, *, mean: Sequence[float] | None, std: Sequence[float] | None
    ) -> Self:
        """The same images under other views and another normalization, for what comes after training.

        Args:
            views: a recipe of the same ``image_size``.
            mean: per channel, in [0, 1]; None leaves images in [0, 1].
            std: as ``mean``.

        Example:
            >>> from sslbolts.data import CIFAR10MiniDataModule
            >>> from sslbolts.transforms import MultiView, View
            >>> data = CIFAR10MiniDataModule().with_views(MultiView((View(32),)), mean=(0.5,) * 3, std=(0.2,) * 3)
            >>> data.mean, len(data.views.views)
            ((0.5, 0.5, 0.5), 1)
        """
        found = (None, None) if mean is None or std is None else (tuple(mean), tuple(std))
        return self._changed(views=views, _statistics=found)

    def with_images(self, **images: Images) -> Self:
        """The same settings over other images or labels; splits that are not named stay as they are.

        Every label of the images is used, and batches are not mixed of labeled and unlabeled ones.

        Args:
            **images: by the names of their splits.

        Raises:
            UsageError: for an unknown split, no images, or others than ``in_chans`` says.

        Example:
            >>> from sslbolts.data import CIFAR10MiniDataModule, TensorImages
            >>> data = CIFAR10MiniDataModule()
            >>> pixels = data.images("train").data[:100]
            >>> halves = data.with_images(train=TensorImages(pixels, torch.arange(100) % 2))
            >>> halves.num_train_images, halves.targets("train").bincount().tolist(), data.num_train_images
            (100, [50, 50], 5000)
        """
        for split, given in images.items():
            one_of(get_args(Split), split=split)
            check_images(given, split, owner=type(self).__name__, form=self.form, multi_label=self.multi_label)
        return self._changed(_images=self._images | images, kept_labels=KeptLabels(), labeled_batch_size=None)

    def with_seed(self, seed: int) -> Self:
        """The same images, whose order and views are drawn by a seed where none was given.

        Args:
            seed: in place of that of the process.

        Example:
            >>> from sslbolts.data import CIFAR10MiniDataModule
            >>> CIFAR10MiniDataModule().with_seed(3).state_dict()["seed"]
            3
            >>> CIFAR10MiniDataModule(seed=5).with_seed(3).state_dict()["seed"]
            5
        """
        own = seed if self._given_seed is None else self._given_seed
        return self._changed(_given_seed=own, _seed=own)

    def _changed(self, **attributes: Any) -> Self:
        """A copy with other attributes, that no run has used."""
        fresh = {"_train_views": None, "_labels": None, "_progress": Progress(), "trainer": None}
        other = copy.copy(self)
        vars(other).update(fresh | attributes)
        return other

    # ------------------------------------------------------------------ loaders

    def train_dataloader(self) -> TrainLoader:
        """Batches of views; outside a Trainer, :meth:`on_after_batch_transfer` finishes them."""
        images = self.images("train")
        self._labels = self.targets("train") if self.kept_labels or self.labeled_batch_size else None
        place = training_placement(
            images,
            self._current_trainer,
            views=self.views,
            augment_on=self.augment_on,
            num_workers=self.num_workers,
            persistent_workers=self.persistent_workers,
        )
        self._train_views = self._make_views(images, place)
        sampler = self._make_sampler(images)
        self._progress.per_epoch = len(sampler)
        settings = place.loader_settings(keep_workers=self.persistent_workers is not False)
        return TrainLoader(self._train_views, sampler, position=self._position, **settings)

    def val_dataloader(self) -> Any:
        """Queries: the images on which the representation is monitored while it trains."""
        return self.evaluation_dataloader("val", keep_workers=True) if self.has_images("val") else []

    def test_dataloader(self) -> Any:
        """Images for the final number."""
        return self.evaluation_dataloader("test") if self.has_images("test") else []

    def bank_dataloader(self) -> DataLoader[Any]:
        """Labeled training images under evaluation transforms.

        Its ``dataset`` and ``collate_fn`` can be put into another DataLoader, to share them among ranks.

        Raises:
            UsageError: if there are no labels.
        """
        if not self.images("bank").labeled:
            raise UsageError(f"{type(self).__name__} has no labeled training images for a bank: {self._labels_hint()}")
        return self.evaluation_dataloader("bank")

    def predict_dataloader(self) -> DataLoader[Any]:
        """The images of ``predict_on`` under evaluation transforms."""
        if not self.has_images(self.predict_on):
            raise UsageError(f'{type(self).__name__} has no images for predict_on="{self.predict_on}".')
        return self.evaluation_dataloader(self.predict_on)

    def train_images_dataloader(self) -> DataLoader[Any]:
        """The training images under evaluation transforms, for methods that look at all of them between epochs."""
        return self.evaluation_dataloader("train")

    def evaluation_dataloader(self, split: Split, *, keep_workers: bool = False) -> DataLoader[Any]:
        """The images of any split under evaluation transforms, each once and in order.

        Args:
            split: which images.
            keep_workers: keep worker processes for the next pass, unless ``persistent_workers=False``.

        Raises:
            UsageError: if the split has none.
        """
        images = self.images(split)
        place = evaluation_placement(images, self._current_trainer, num_workers=self.num_workers)
        return DataLoader(
            EvaluationImages(images, evaluation(self.image_size)),
            batch_size=self.eval_batch_size,
            collate_fn=collate,
            **place.loader_settings(keep_workers=keep_workers and self.persistent_workers is not False),
        )

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finishes a batch where it lies: views of a :class:`Draft`, and evaluation images still in levels."""
        if isinstance(batch, Draft):
            assert self._train_views is not None
            batch = self._train_views.finish(batch)
        else:
            batch = normalized(batch, self.image_size, mean=self.mean, std=self.std)
        if isinstance(batch, ViewBatch) and self._labels is not None:
            self._labels = self._labels.to(batch.indices.device)
            batch = batch._replace(targets=self._labels[batch.indices])
        # Lightning has converted inputs to a half-precision model's type already, but these are made only now.
        trainer = self._current_trainer
        return batch if trainer is None else trainer.precision_plugin.convert_input(batch)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The seed: with it, a resumed run draws what the uninterrupted one would. And what the images looked like.

        What comes after training, such as evaluation on other data, so finds the normalization that the network knows.
        """
        return {
            **super().state_dict(),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "image_size": self.image_size,
            "in_chans": self.in_chans,
            "value_range": None if self.value_range is None else [list(pair) for pair in self.value_range],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed of the checkpoint, unless ``seed=`` was given, and its place among the batches.

        A mean and a deviation that are not given are the checkpoint's then: the network knows no others. Another size
        or range of values than the checkpoint's is said.
        """
        if known := Preprocessing.of(state_dict):
            for note in (*known.size_notes(self.image_size), *known.range_notes(self.value_range or ())):
                rank_zero_warn(f"{type(self).__name__}: {note}")
        if self._statistics is None or self._measured:
            mean, std = state_dict.get("mean"), state_dict.get("std")
            if mean is not None and std is not None and len(mean) == self.in_chans:
                self._statistics = (tuple(mean), tuple(std))
        super().load_state_dict(state_dict)

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> Self:
        """Refused, since no checkpoint holds the arguments."""
        raise UsageError(f"no checkpoint holds the arguments of {cls.__name__}: make it with those of config.yaml.")

    # ------------------------------------------------------------------ inside

    def _make_views(self, images: Images, place: Placement) -> TrainingViews:
        return training_views(
            images,
            self.views,
            place,
            mean=self.mean,
            std=self.std,
            color=self.color,
            color_channels=self.color_channels,
        )

    def _make_sampler(self, images: Images) -> EpochSampler:
        sampler = sampler_of(
            self._current_trainer,
            len(images),
            self.batch_size,
            seed=self._settled_seed(),
            drop_last=self.drop_last,
            labeled=self.labeled_batch_size,
            labels=self._labels,
        )
        if (weights := self._draw_weights()) is not None:
            if not sampler.shuffle:
                raise UsageError("overfit_batches takes the same few images again and again: leave the weights out.")
            sampler.draw_by(weights)
        return sampler

    def _draw_weights(self) -> Tensor | None:
        """By which training images are drawn; None draws all alike."""
        if self.draws is None:
            return None
        classes = self._class_count() if not isinstance(self.draws, str) else None
        each = not isinstance(self.draws, str) and len(self.draws) == self.num_train_images
        if self.multi_label and not each:
            check_multi_label(sampling=self.draws)
        labels = torch.full((self.num_train_images,), -1) if each else self.targets("train")
        return sampling_weights(self.draws, labels, classes)

    def _class_count(self) -> int | None:
        try:
            return self.num_classes
        except UsageError:
            return None
