"""The images of a DataModule's splits, with their labels, and the mean and deviation of their pixels."""

from torch import Tensor

from sslbolts._lightning import rank_zero_info
from sslbolts.data.arguments import Split
from sslbolts.data.images import Images, check_images
from sslbolts.data.labels import KeptLabels, labels_of
from sslbolts.data.measured import measured
from sslbolts.data.pixels import PixelForm
from sslbolts.data.resumable import ResumableDataModule
from sslbolts.errors import UsageError
from sslbolts.transforms.preprocessing import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["SplitImages"]


class SplitImages(ResumableDataModule):
    """The part of a DataModule that says where its images come from.

    :class:`~sslbolts.data.SSLDataModule` sets its attributes.
    """

    form: PixelForm
    kept_labels: KeptLabels
    _images: dict[str, Images | None]
    _statistics: tuple[tuple[float, ...] | None, tuple[float, ...] | None] | None
    _measured: bool

    pixel_mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of the training images' pixels per channel, in [0, 1]; here ImageNet's."""
    pixel_std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of the training images' pixels per channel, in [0, 1]; here ImageNet's."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes, in the order of their labels; None where there are no labels."""
    multi_label: bool = False
    """Whether an image may show several classes, so that labels are rows ``(N, C)`` of 1, 0, and -1 for what is not
    known; declared, since rows with a single 1 could be class numbers as well."""
    has_rows: bool = True
    """Whether training images can be had one by one, by their row; those of a stream cannot."""

    def load(self, split: Split) -> Images | None:
        """The images of a split, or None where there are none. Called once per split and process.

        Args:
            split: "train"; "val": queries, monitored while training runs; "test"; "bank": labeled images that
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
    def mean(self) -> tuple[float, ...] | None:
        """Mean per channel, in [0, 1]; None where views are not normalized. Measured first where it is not known."""
        return self._settled_statistics()[0]

    @property
    def std(self) -> tuple[float, ...] | None:
        """Standard deviation per channel, in [0, 1]; as ``mean``."""
        return self._settled_statistics()[1]

    @property
    def num_train_images(self) -> int:
        """Number of images that an epoch goes through."""
        return len(self.images("train"))

    def has_images(self, split: Split) -> bool:
        """True if a split has images; they are loaded then."""
        return self._loaded(split) is not None

    def images(self, split: Split) -> Images:
        """The images of a split as they are stored, loaded once.

        Raises:
            UsageError: if the split has none.

        Example:
            >>> from sslbolts.data import CIFAR10MiniDataModule
            >>> image, label = CIFAR10MiniDataModule().images("test").read(0)
            >>> tuple(image.shape), label
            ((3, 32, 32), 0)
        """
        images = self._loaded(split)
        if images is None:
            raise UsageError(f'{type(self).__name__} has no images for "{split}".')
        return images

    def targets(self, split: Split) -> Tensor:
        """Labels ``(N,)`` of a split's images, -1 where there is none; with :attr:`multi_label` rows ``(N, C)``.

        Images are read only where they do not hold their labels. With ``labels_per_class`` or the like the other images
        of "train" and "bank" count as unlabeled.

        Raises:
            UsageError: if the split has no images, or so many labels cannot be had.

        Example:
            >>> from sslbolts.data import CIFAR10MiniDataModule
            >>> CIFAR10MiniDataModule().targets("bank").bincount().tolist()
            [500, 500, 500, 500, 500, 500, 500, 500, 500, 500]
        """
        images = self.images(split)
        if not self.kept_labels or split not in ("train", "bank"):
            return labels_of(images)
        return self.kept_labels.of(images, seed=self._settled_seed())

    def _settled_statistics(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        if self._statistics is None:
            found = measured(self.images("train"))
            self._statistics, self._measured = (found.mean, found.std), True
            rank_zero_info(found.sentence(self.num_train_images, ends=self.form.pairs is not None))
        return self._statistics

    def _loaded(self, split: Split) -> Images | None:
        if split not in self._images:
            images = self.load(split)
            if images is not None:
                check_images(images, split, owner=type(self).__name__, form=self.form, multi_label=self.multi_label)
            self._images[split] = images
        return self._images[split]

    def _labels_hint(self) -> str:
        return "labels are needed only for kNN and probes; use a labeled data set for them, or switch them off."
