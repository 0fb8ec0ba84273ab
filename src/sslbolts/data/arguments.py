"""The arguments that every DataModule takes, and the checks of those that belong together."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from sslbolts.errors import UsageError
from sslbolts.transforms import MultiCrop, MultiView, recipe

__all__ = ["AugmentOn", "Color", "DataArguments", "Split", "size_and_views", "statistics"]

Split = Literal["train", "val", "test", "bank"]
"""To train on; queries, monitored while training runs; for the final number; labeled images to compare queries with."""
AugmentOn = Literal["auto", "device", "worker"]
Color = Literal["exact", "linear"]


class DataArguments(TypedDict, total=False):
    """Arguments of every DataModule, besides its own.

    Attributes:
        batch_size: images per batch and device; 256 by default.
        views: name of a recipe ("simclr" by default, "byol", "dino", ...; see ``sslbolts.transforms.RECIPES``), or a
            recipe of your own.
        image_size: side of the views and of evaluation images, pixels; None is the data set's own (or that of the
            first view, if ``views`` is a recipe of your own).
        num_workers: processes that make batches; None chooses.
        augment_on: "device": crops (of images in memory) and all photometric operations run batched on the training
            device; "worker": in the loader; "auto", the default: on the device if it is an accelerator.
        color: "exact", the default, is torchvision's color jitter; "linear" is faster and approximate.
        eval_batch_size: images per evaluation batch and device; None is ``batch_size``.
        drop_last: leave out the last images of an epoch that do not fill a batch on every device; True by default.
        seed: of order and views; None takes that of ``seed_everything``, or else torch's, from rank 0, anew for each
            run.
        mean: per channel, in [0, 1]; None is the data set's own. None in the attribute where views are not normalized.
        std: per channel, in [0, 1]; as ``mean``.
        in_chans: channels of an image: 1, 3 (the default) or 4.
        predict_on: the images that ``predict_dataloader`` gives; "train" by default.
        persistent_workers: keep worker processes between epochs; None does where there are any.
        labels_per_class: leave only so many training images of each class their labels, drawn with the seed; the
            others are trained on with label -1 (semi-supervised learning). None leaves all. Monitors see all.
        labels_fraction: the same as a share of every class, in (0, 1], e.g. 0.01 or 0.1.
        labels_rows: the same as a list: rows of the training images, or a text file of them, one per line.
        labeled_batch_size: images of every batch that are labeled ones, the first of it; the others are unlabeled ones,
            each of which comes once in an epoch. None draws all images alike, with a label or without.
        sampling: how often training images come: "balanced" draws all classes equally often; a list has a weight for
            each image, or the share of each class. An epoch stays as long as it was. None takes each image once.
    """

    batch_size: int
    views: str | MultiView | MultiCrop
    image_size: int | None
    num_workers: int | None
    augment_on: AugmentOn
    color: Color
    eval_batch_size: int | None
    drop_last: bool
    seed: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    in_chans: int
    predict_on: Split
    persistent_workers: bool | None
    labels_per_class: int | None
    labels_fraction: float | None
    labels_rows: str | Sequence[int] | None
    labeled_batch_size: int | None
    sampling: str | Sequence[float] | None


def size_and_views(
    image_size: int | None, views: str | MultiView | MultiCrop, native_size: int
) -> tuple[int, MultiView | MultiCrop]:
    """The side of an image, and the recipe of that size.

    Args:
        image_size: as given; None is that of the recipe, or ``native_size`` for one that is given by name.
        views: name of a recipe, or a recipe.
        native_size: the data set's own.

    Raises:
        UsageError: for an unknown name, or a recipe of another size than ``image_size``.
    """
    if isinstance(views, str):
        size = image_size or native_size
        return size, recipe(views, size)
    if not isinstance(views, MultiView | MultiCrop):
        raise UsageError(f"views={views!r} must be the name of a recipe, a MultiView or a MultiCrop.")
    size = views.views[0].size
    if image_size not in (None, size):
        raise UsageError(f"image_size={image_size}, but the first of views is of size {size}: leave image_size out.")
    return size, views


def statistics(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    default: tuple[Sequence[float], Sequence[float]],
    normalize: bool,
    in_chans: int,
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation to normalize with; None and None where views are not normalized.

    Args:
        mean, std: as given, per channel, in [0, 1].
        default: those of the data set.
        normalize: whether the views are normalized.
        in_chans: channels of an image.

    Raises:
        UsageError: for one without the other, for another number of channels, or where they would have no effect.
    """
    if (mean is None) != (std is None):
        raise UsageError("mean= and std= belong together: give both or neither.")
    if not normalize:
        if mean is not None:
            raise UsageError(
                "mean= and std= have no effect, since these views are not normalized (SimCLR's inputs are in [0, 1]): "
                "leave them out, or give views with normalize=True."
            )
        return None, None
    used_mean, used_std = default if mean is None or std is None else (mean, std)
    if len(used_mean) != in_chans or len(used_std) != in_chans:
        raise UsageError(
            f"mean={tuple(used_mean)} and std={tuple(used_std)} must have one number per channel, and in_chans="
            f"{in_chans}: give mean= and std=."
        )
    if min(used_std) <= 0:
        raise UsageError(f"std={tuple(used_std)} must be positive.")
    return tuple(used_mean), tuple(used_std)
