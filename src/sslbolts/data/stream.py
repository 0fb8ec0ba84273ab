"""Streams of images: what can only be read from its beginning on."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Unpack, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sslbolts._lightning import rank_zero_info
from sslbolts.batch import ViewBatch
from sslbolts.checks import one_of, whole
from sslbolts.data.arguments import DataArguments, Split
from sslbolts.data.base import SSLDataModule
from sslbolts.data.dataset import AnyDataset, DatasetImages, check_map_style
from sslbolts.data.images import Images, Label
from sslbolts.data.items import ItemReader
from sslbolts.data.loader import training_placement
from sslbolts.data.rank_sampler import overfits, place_of
from sslbolts.data.sampler import BatchPlan
from sslbolts.data.stream_images import HeldImages, NamelessImages
from sslbolts.data.stream_pickles import raised_in_one_line, without_pickles
from sslbolts.data.stream_shares import Share, SplitBy, check_stream, engine_of, share_of, shuffled, useful_workers
from sslbolts.data.views import CroppedViews, Draft
from sslbolts.errors import UsageError
from sslbolts.training.seeds import mix

__all__ = ["StreamBatches", "StreamDataModule", "StreamLoader"]

_VIEWS = 1  # what a seed is for, as of EpochSampler


class StreamDataModule(SSLDataModule):
    """Training images that come as a stream: they have no row numbers, and may have no end on this disk.

    What is for which case:

    - images that fit on the disk, in any map-style dataset (Hugging Face's without ``streaming=True`` among them):
      :class:`~sslbolts.data.DatasetDataModule`, since rows can be shuffled freely, weighted, and taken up anywhere;
    - Hugging Face's ``load_dataset(..., streaming=True)``: for a data set of the Hub that is not to be downloaded. It
      divides itself by shards (files), so no more workers run than there are shards; ``.shuffle(buffer_size=...)`` of
      its own shuffles before images are decoded, and is drawn anew in each epoch;
    - litdata's ``StreamingDataset``: for an object store, prepared in chunks. It divides itself, and shuffles within
      chunks, and chunks, in an order of its own (``shuffle=True``);
    - webdataset: tar files that are there already. Give the pipeline ``nodesplitter=wds.split_by_node`` (workers it
      splits by itself), at least one tar file for every worker of every process, and ``.decode("pil")``;
    - any other ``IterableDataset``: each reader goes through all of it, and keeps every n-th item, so it costs as many
      times the reading as there are processes times workers; or it divides itself, ``split_by="itself"``.

    An epoch is a pass: each worker of each process reads its share, and all shares together have each image once. All
    processes have equally many batches. A share that is at its end before the epoch is begins anew; where shares are
    equal and ``epoch_images`` is the stream's number, no image comes twice and none is missing but for the last that
    fill no batch.

    A resumed run goes on exactly where it stopped, for every engine whose epochs can be repeated: its readers go
    through the part of the epoch that is behind them once more, which costs the reading, not the augmentation.
    ``resume="start"`` begins at the start of each share instead, at no cost, and images of that epoch come twice.

    Nothing of an item is unpickled: webdataset's fields that end in .pkl, .pyd or .pth and litdata's pickled values are
    refused, unless the stream was given a decoder (or ``serializers=``) for them.

    Validation, test and bank are map-style datasets, as of :class:`~sslbolts.data.DatasetDataModule`. Methods that keep
    something of every training image (a memory bank, clusters) need row numbers, and refuse a stream.

    Args:
        train: an ``IterableDataset`` whose items are an image, ``(image, label, ...)`` or a mapping.
        epoch_images: images of an epoch, over all processes; None takes ``len(train)``, where it has a length.
        val: queries; None is none.
        test: images for the final number; None is ``val``.
        bank: labeled images that queries are compared with; None is none.
        num_classes: number of classes.
        image_key, label_key: of items that are mappings; see :class:`~sslbolts.data.items.ItemReader`.
        multi_label: an image may show several classes: labels are rows of ``num_classes`` numbers, as of
            :class:`~sslbolts.data.DatasetDataModule`.
        shuffle_buffer: images among which each worker draws the next, decoded; 0 leaves the order of the stream.
        split_by: "items" or "itself", see above; None is "itself" for datasets, litdata and webdataset, else "items".
        resume: "exact", or "start".
        **common: :class:`~sslbolts.data.arguments.DataArguments`; what concerns labels and the order of rows is not
            for streams.

    Raises:
        UsageError: for no stream, one without a length and without ``epoch_images``, or fewer images than a batch;
            while it trains, for a share without an image.

    Example:
        >>> class Stream(torch.utils.data.IterableDataset):
        ...     def __iter__(self):
        ...         yield from ((torch.full((3, 32, 32), n, dtype=torch.uint8), n) for n in range(16))
        >>> data = StreamDataModule(Stream(), epoch_images=16, batch_size=8, image_size=32, num_workers=0)
        >>> [batch.targets.tolist() for batch in data.train_dataloader()]
        [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]
    """

    has_rows = False

    def __init__(
        self,
        train: IterableDataset[Any],
        *,
        epoch_images: int | None = None,
        val: AnyDataset | None = None,
        test: AnyDataset | None = None,
        bank: AnyDataset | None = None,
        num_classes: int | None = None,
        image_key: str | None = None,
        label_key: str | None = None,
        multi_label: bool = False,
        shuffle_buffer: int = 0,
        split_by: SplitBy | None = None,
        resume: str = "exact",
        **common: Unpack[DataArguments],
    ) -> None:
        check_stream(train)
        for name in ("labels_per_class", "labels_fraction", "labels_rows", "labeled_batch_size", "sampling"):
            if common.get(name) is not None:
                raise UsageError(
                    f"{name}= chooses rows, and a stream has none: use DatasetDataModule, or leave it out."
                )
        if common.get("drop_last") is False:
            raise UsageError("drop_last=False: all batches of a stream are full; leave it out.")
        self.multi_label = multi_label
        whole(2, num_classes=num_classes)
        if multi_label and num_classes is None:
            raise UsageError("multi_label=True of a stream needs num_classes=, the length of a row of labels.")
        super().__init__(**common)
        whole(epoch_images=epoch_images)
        whole(0, shuffle_buffer=shuffle_buffer)
        if split_by is not None:
            one_of(get_args(SplitBy), split_by=split_by)
        one_of(("exact", "start"), resume=resume)
        if epoch_images is None and not hasattr(train, "__len__"):
            raise UsageError(f"train={type(train).__name__} has no length: give epoch_images=, the images of an epoch.")
        self._datasets = {"val": val, "test": val if test is None else test, "bank": bank}
        for name, dataset in self._datasets.items():
            check_map_style(name, dataset)
        self.train = without_pickles(train)
        self.epoch_images = len(train) if epoch_images is None else epoch_images  # type: ignore[arg-type]
        self.shuffle_buffer = shuffle_buffer
        self.split_by: SplitBy = split_by or ("items" if engine_of(train) == "torch" else "itself")
        self.resume = resume
        columns = num_classes if multi_label else None
        self.reader = ItemReader(self.form, image_key=image_key, label_key=label_key, columns=columns)
        self._declared_classes = num_classes
        names = next((names for one in (bank, val) if (names := getattr(one, "classes", None))), None)
        self.class_names = None if names is None else tuple(str(name) for name in names)

    @property
    def num_classes(self) -> int:
        """Number of classes, as given, or as many as ``classes`` of the bank or the queries.

        Raises:
            UsageError: if neither says.
        """
        return super().num_classes if self._declared_classes is None else self._declared_classes

    def load(self, split: Split) -> Images | None:
        """The dataset that was given for the split.

        Raises:
            UsageError: for the training images, which have no rows.
        """
        if split == "train":
            raise UsageError(
                "the training images of a StreamDataModule have no rows: what looks at single ones of them (memory "
                "banks, clusters, some pictures) needs DatasetDataModule or ImageFolderDataModule."
            )
        dataset = self._datasets[split]
        return None if dataset is None else DatasetImages(dataset, self.reader, split)

    def has_images(self, split: Split) -> bool:
        """True if a split has images."""
        return split == "train" or super().has_images(split)

    def bank_dataloader(self) -> DataLoader[Any]:
        """The labeled images of ``bank=``.

        Raises:
            UsageError: if there is none.
        """
        if self._datasets["bank"] is None:
            raise UsageError("StreamDataModule has no bank, since a stream is none: give bank= a map-style dataset.")
        return super().bank_dataloader()

    def train_dataloader(self) -> "StreamLoader":  # type: ignore[override]
        """Batches of views; outside a Trainer, :meth:`on_after_batch_transfer` finishes them.

        Raises:
            UsageError: if an epoch has fewer images than a batch of all processes.
        """
        trainer, place = self._current_trainer, place_of(self._current_trainer)
        if overfits(trainer):
            raise UsageError("overfit_batches needs batches that stay the same, and a stream has none: leave it out.")
        images = NamelessImages(self.epoch_images, self.form)
        where = training_placement(
            images,
            trainer,
            views=self.views,
            augment_on=self.augment_on,
            num_workers=self.num_workers,
            persistent_workers=self.persistent_workers,
        )
        workers = useful_workers(self.train, where.workers, world_size=place["world_size"])
        if workers < where.workers:
            rank_zero_info(f"{workers} of {where.workers} workers run: a worker reads whole shards of the stream.")
        per_step = self.batch_size * place["world_size"]
        steps = self.epoch_images // per_step
        if not steps:
            raise UsageError(
                f"epoch_images={self.epoch_images:,}, but one batch takes {per_step:,} (batch_size={self.batch_size}"
                f" x {place['world_size']} devices): give a smaller batch_size, or more images."
            )
        views = self._make_views(images, where)
        assert isinstance(views, CroppedViews)
        self._train_views = views
        self._progress.per_epoch = steps
        make = partial(_items, self.train, self.split_by, self.shuffle_buffer, self._settled_seed())
        batches = StreamBatches(
            make, self.reader, views, self.batch_size, steps, seed=self._settled_seed(), resume=self.resume, **place
        )
        settings = where.loader_settings(keep_workers=False) | {"num_workers": workers}
        return StreamLoader(batches, position=self._position, **settings)

    def _settled_statistics(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        if self._statistics is None:
            raise UsageError(
                f"mean and std of {self.in_chans} channels are not known, and those of a stream are not measured: give "
                "mean= and std=, one number per channel in [0, 1]."
            )
        return super()._settled_statistics()

    def train_images_dataloader(self) -> DataLoader[Any]:
        """Refused, see :meth:`load`."""
        return self.evaluation_dataloader("train")

    def _labels_hint(self) -> str:
        return "give num_classes= and bank= a labeled map-style dataset, or switch off what needs labels."


def _items(stream: Any, split_by: SplitBy, buffer: int, seed: int, share: Share, epoch: int) -> Iterator[Any]:
    items = raised_in_one_line(share_of(stream, share, split_by=split_by, epoch=epoch))
    return shuffled(items, buffer, seed=seed, epoch=epoch, share=share)


class StreamBatches(IterableDataset[Draft | ViewBatch]):
    """The batches of a rank: batch ``b`` of an epoch is made by worker ``b % workers``, of that worker's share.

    Args:
        items: gives the items of ``(share, epoch)``.
        reader: of items.
        views: makes a batch of images.
        batch_size: images per batch.
        steps: batches of an epoch.
        seed: of the run.
        rank: of this process.
        world_size: number of processes.
        resume: whether a share is read again up to the first batch that is wanted.
    """

    def __init__(
        self,
        items: Callable[[Share, int], Iterator[Any]],
        reader: ItemReader,
        views: CroppedViews,
        batch_size: int,
        steps: int,
        *,
        seed: int,
        rank: int,
        world_size: int,
        resume: str,
    ) -> None:
        self.items = items
        self.reader = reader
        self.views = views
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.resume = resume
        self.epoch, self.first, self.end = 0, 0, steps
        """The batches that the next iteration gives."""

    def __iter__(self) -> Iterator[Draft | ViewBatch]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = Share(self.rank, self.world_size, worker, workers)
        items = self._endless(share)
        for batch in range(worker, self.end, workers):
            if batch < self.first:
                if self.resume == "exact":
                    for _ in range(self.batch_size):
                        next(items)
                continue
            name = f"an item of batch {batch} of the stream"
            images = [self.reader(next(items), name) for _ in range(self.batch_size)]
            yield self._made(images, batch)

    def _endless(self, share: Share) -> Iterator[Any]:
        while True:
            empty = True
            for item in self.items(share, self.epoch):
                empty = False
                yield item
            if empty:
                raise UsageError(
                    f"the share of worker {share.worker} of {share.workers} of process {share.rank} of "
                    f"{share.world_size} holds no image: give fewer num_workers, or more shards."
                )

    def _made(self, images: list[tuple[Tensor, Label]], batch: int) -> Draft | ViewBatch:
        views = CroppedViews(
            HeldImages(images, self.reader.form),
            self.views.views,
            self.views.augment,
            finish_here=self.views.finish_here,
        )
        seed = mix(self.seed, _VIEWS, self.epoch, batch, self.rank)
        made = views[BatchPlan(torch.arange(self.batch_size), seed)]
        return made._replace(indices=torch.full((self.batch_size,), -1))  # rows that the images do not have


class StreamLoader(DataLoader[Any]):
    """A loader of the batches of a stream, in which a resumed run goes on, as in
    :class:`~sslbolts.data.loader.TrainLoader`.

    Args:
        batches: of this rank.
        position: batches of the run that are behind us, and of the current epoch; None outside a Trainer.
        **settings: further arguments of ``DataLoader``.
    """

    def __init__(
        self, batches: StreamBatches, *, position: Callable[[], tuple[int, int] | None], **settings: Any
    ) -> None:
        super().__init__(batches, batch_size=None, collate_fn=_as_it_is, **settings)
        self.position = position
        self.epoch = 0
        """The epoch of the next iteration outside a Trainer."""

    def __len__(self) -> int:
        """Batches of an epoch, per rank."""
        return self._batches.steps

    @property
    def _batches(self) -> StreamBatches:
        assert isinstance(self.dataset, StreamBatches)
        return self.dataset

    def set_epoch(self, epoch: int) -> None:
        """The next iteration outside a Trainer is that epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, for its laziness
        position, steps = self.position(), len(self)
        start, rest = (self.epoch * steps, steps) if position is None else (position[0], steps - position[1] % steps)
        while rest:
            epoch, first = divmod(start, steps)
            end = min(steps, first + rest)
            # The loader asks worker 0 first, so it begins with a batch of that worker's.
            over = first % max(1, self.num_workers)
            batches = self._batches
            batches.epoch, batches.first, batches.end = epoch, first - over, end
            for number, batch in enumerate(super().__iter__()):
                if number >= over:
                    yield batch
            start, rest = start + end - first, rest - (end - first)

    def state_dict(self) -> dict[str, Any]:
        """Empty; that it is there tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the position is in the Trainer's own counters."""


def _as_it_is(batch: Any) -> Any:
    return batch
