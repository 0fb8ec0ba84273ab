"""The arguments that every DataModule takes, and the checks of those that belong together."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from sslbolts.checks import is_number
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiCrop, MultiView, recipe
from sslbolts.transforms import color_channels as channels_of

__all__ = ["AugmentOn", "Color", "DataArguments", "Split", "check_colors", "size_and_views", "statistics"]

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
        mean: per channel, in [0, 1]; None is the data set's own or, where that is not known (of other channels than
            three, or with a ``value_range``), measured on 512 of the training images. None in the attribute where views
            are not normalized.
        std: per channel, in [0, 1]; as ``mean``.
        measure_statistics: measure mean and std in any case. They are said, and kept in checkpoints.
        in_chans: channels of an image, 3 by default.
        value_range: ``(low, high)``, the values that 0 and 1 in an image stand for, in the numbers of the data set, or
            such a pair per channel; values beyond are clamped. Needed for all but 8 bits: the type of 16-bit integers
            and floats does not say it. Images are held in 65,536 levels of it. None: uint8, 0 to 255.
        color_channels: positions of the channels that are red, green and blue, which alone get jitter, grayscale and
            solarization; of one channel (gray: brightness, contrast and solarization); or none, ``[]``: brightness and
            contrast of all channels, the latter about the mean of each. None is the first three of 3 and 4 channels,
            the one of one, and none of any other number.
        predict_on: the images that ``predict_dataloader`` gives; "train" by default.
        persistent_workers: keep worker processes between epochs; None does where there are any.
        labels_per_class: leave only so many training images of each class their labels, drawn with the seed; the
            others are trained on with label -1 (semi-supervised learning). None leaves all. Monitors see all.
        labels_fraction: the same as a share of every class, in (0, 1], e.g. 0.01 or 0.1.
        labels_rows: the same as a list: rows of the training images, or a text file of them, one per line.
        labeled_batch_size: images of every batch that are labeled ones, the first of it; the others are unlabeled ones,
            each of which comes once in an epoch. None draws all images alike, with a label or without.
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
    measure_statistics: bool
    in_chans: int
    value_range: Sequence[float] | Sequence[Sequence[float]] | None
    color_channels: Sequence[int] | None
    predict_on: Split
    persistent_workers: bool | None
    labels_per_class: int | None
    labels_fraction: float | None
    labels_rows: str | Sequence[int] | None
    labeled_batch_size: int | None


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


def check_colors(
    in_chans: int, color_channels: Sequence[int] | None, views: MultiView | MultiCrop, *, own: bool
) -> str:
    """Refuses color operations that the channels do not have.

    Args:
        in_chans, color_channels: as given.
        views: the recipe.
        own: it was not given by its name, but as an object.

    Returns:
        a sentence on operations of a recipe of that name that have no effect; empty if there are none.

    Raises:
        UsageError: for channels that are not there, or operations of a recipe of one's own that have no effect.
    """
    colors = len(channels_of(color_channels, in_chans))
    if colors == 3:
        return ""
    lost: dict[str, None] = {}
    for view in views.views:
        jitters = view.jitter_p > 0
        possible = {
            "saturation": jitters and view.jitter[2] > 0,
            "hue": jitters and view.jitter[3] > 0,
            "grayscale": view.grayscale_p > 0,
            "solarize": view.solarize_p > 0 and colors == 0,
        }
        lost |= dict.fromkeys(name for name, asked in possible.items() if asked)
    if not lost:
        return ""
    has = "one color channel" if colors else "no color channels"
    said = f"images of in_chans={in_chans} with {has} have no {', '.join(lost)}"
    if own:
        raise UsageError(
            f"{said}, which views= asks for: set them to 0 in the views, or name three channels (red, green and blue) "
            "in color_channels=."
        )
    return f"{said}: these operations are left out of the views."


def statistics(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    default: tuple[Sequence[float], Sequence[float]],
    normalize: bool,
    in_chans: int,
    measure: bool = False,
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None] | None:
    """Mean and standard deviation to normalize with; None and None where views are not normalized.

    None where they are to be measured: none are given, and none are known of so many channels.

    Args:
        mean, std: as given, per channel, in [0, 1].
        default: those of the data set.
        normalize: whether the views are normalized.
        in_chans: channels of an image.
        measure: measure them though some are known.

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
    if mean is not None and measure:
        raise UsageError("mean= and std= are given, so measure_statistics=True has no effect: leave one of them out.")
    if mean is None and (measure or len(default[0]) != in_chans):
        return None
    used_mean, used_std = default if mean is None or std is None else (mean, std)
    if len(used_mean) != in_chans or len(used_std) != in_chans:
        raise UsageError(
            f"mean={tuple(used_mean)} and std={tuple(used_std)} must have one number per channel, and in_chans="
            f"{in_chans}: give mean= and std=."
        )
    if not all(map(is_number, (*used_mean, *used_std))) or not all(value > 0 for value in used_std):
        raise UsageError(f"mean={tuple(used_mean)} must be finite, and std={tuple(used_std)} positive.")
    return tuple(used_mean), tuple(used_std)
