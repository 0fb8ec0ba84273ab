"""What DataModules check about their arguments."""

from collections.abc import Sequence

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.transforms import MultiCrop, MultiView, recipe

__all__ = ["at_least", "one_of", "size_and_views", "statistics"]


def at_least(name: str, value: int | None, least: int) -> None:
    """Refuses a number below ``least``; None passes."""
    if value is not None and value < least:
        raise UsageError(f"{name}={value} must be at least {least}.")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuses a word that is not ``allowed``."""
    if value not in allowed:
        raise UsageError(f'{name}="{value}" must be one of {", ".join(allowed)}.{did_you_mean(value, allowed)}')


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
