"""Views that transforms of torchvision make, one image at a time."""

from time import perf_counter

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.transforms.levels import as_levels
from sslbolts.transforms.recipes import TransformsView

__all__ = ["seconds_per_image", "transformed"]


def transformed(image: Tensor, view: TransformsView, *, seed: int) -> Tensor:
    """The view of one image; torch's own generator is as it was before.

    Args:
        image: ``(C, H, W)`` uint8 or uint16.
        view: whose transforms are called.
        seed: of what they draw from torch.

    Returns:
        ``(C, size, size)`` of the image's type.

    Raises:
        UsageError: if they make anything else.

    Example:
        >>> from torchvision.transforms import v2
        >>> view = TransformsView(16, transforms=[v2.RandomCrop(16)])
        >>> transformed(torch.zeros(5, 32, 32, dtype=torch.uint8), view, seed=0).shape
        torch.Size([5, 16, 16])
    """
    made: Tensor = image
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for step in view.transforms:
            made = step(made)
    wanted = (image.shape[0], view.size, view.size)
    if not isinstance(made, Tensor) or made.shape != wanted:
        got = f"{tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise UsageError(f"the transforms of a view made {got}, but a view of this image is {wanted}.")
    if made.dtype == image.dtype:
        return made
    low, high = (float(value) for value in made.aminmax()) if made.is_floating_point() else (1.0, 0.0)
    if not 0 <= low <= high <= 1:
        raise UsageError(
            f"the transforms of a view made {made.dtype}"
            + (f" from {low:.3g} to {high:.3g}" if made.is_floating_point() else "")
            + f", but a view of this image is {image.dtype}, or float in [0, 1]: leave Normalize out, the DataModule "
            "normalizes."
        )
    return as_levels(made.to(torch.float32, copy=True), image.dtype)


def seconds_per_image(images: list[Tensor], views: list[TransformsView]) -> float:
    """The time that such views of one image take on one core, measured on a few of them.

    Args:
        images: two or more, of which the first warms up.
        views: of each.
    """
    for view in views:
        transformed(images[0], view, seed=0)
    start = perf_counter()
    for number, image in enumerate(images[1:]):
        for view in views:
            transformed(image, view, seed=number)
    return (perf_counter() - start) / max(1, len(images) - 1)
