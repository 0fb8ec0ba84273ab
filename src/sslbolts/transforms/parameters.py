"""The random parameters of one view for a whole batch, drawn apart from their application."""

import itertools
import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from sslbolts.transforms.extras import ExtraParameters, draw_extras
from sslbolts.transforms.recipes import View

__all__ = [
    "BRIGHTNESS",
    "CONTRAST",
    "HUE",
    "NOT_JITTERED",
    "ORDERS",
    "SATURATION",
    "ViewParameters",
    "central_box",
    "draw_parameters",
    "order_table",
]

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
# The 24 orders in which the four color operations can come.
ORDERS: tuple[tuple[int, ...], ...] = tuple(itertools.permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE)))
NOT_JITTERED = len(ORDERS)

# Below this batch size an exact share of the batch would be too far from the probability that it stands for.
_LEAST_FOR_SHARES = 20


@dataclass
class ViewParameters:
    """Parameters of each of ``n`` images; every field has one row per image.

    Attributes:
        box: ``(n, 4)`` top, left, height, width of the crop, whole numbers in float32; None where nothing is cropped.
        flip: ``(n,)`` bool.
        order: ``(n,)`` int64, the row of :data:`ORDERS`, or ``NOT_JITTERED``.
        factors: ``(n, 4)`` brightness, contrast and saturation factor, hue shift in turns.
        grayscale: ``(n,)`` bool.
        blur: ``(n,)`` bool.
        sigma: ``(n,)`` standard deviation of the blur, pixels.
        solarize: ``(n,)`` bool.
        extras: turns, noise and holes; None where the view has none.
    """

    box: Tensor | None
    flip: Tensor
    order: Tensor
    factors: Tensor
    grayscale: Tensor
    blur: Tensor
    sigma: Tensor
    solarize: Tensor
    extras: ExtraParameters | None = None

    def take(self, rows: Tensor | slice) -> "ViewParameters":
        """The parameters of some of the images."""
        each = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("box", "extras")}
        return ViewParameters(
            box=None if self.box is None else self.box[rows],
            extras=None if self.extras is None else self.extras.take(rows),
            **{name: values[rows] for name, values in each.items()},
        )


def draw_parameters(
    view: View, n: int, height: int, width: int, *, generator: torch.Generator, crop: bool = True, channels: int = 3
) -> ViewParameters:
    """Draws one view's parameters for ``n`` images of ``height x width`` pixels, on the generator's device.

    How much is taken from the generator depends on ``n`` and ``crop`` alone, so that changing a probability or a
    strength leaves the rest of what is drawn as it was. What few recipes do (``View.extras``) is drawn last, and only
    for views that do any of it; of it the noise, of as many ``channels`` as the images have. Nothing here waits for an
    accelerator.

    From 20 images on, an operation of probability p hits ``p n`` images in random positions, rounded up or down at
    random, so that each image is hit with probability p and no batch has unusually many. In smaller batches every image
    is drawn on its own.
    """
    device = generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device, generator=generator)

    def hit(probability: float) -> Tensor:
        if n < _LEAST_FOR_SHARES:
            return uniform(n) < probability
        # Of the ranks 0, 1, ... those below p n for certain, and the next with the probability that is left.
        ranks = torch.randperm(n, device=device, generator=generator)
        return ranks < (probability * n + uniform(1)).floor_()

    box = _random_boxes(uniform(4, n, 10), view, height, width) if crop else None
    flip = uniform(n) < view.flip
    jittered = hit(view.jitter_p)
    order = torch.randint(len(ORDERS), (n,), device=device, generator=generator)
    *three, hue = view.jitter
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in three] + [(-hue, hue)]
    factors = uniform(4, n)
    for row, (low, high) in zip(factors, ranges, strict=True):
        row.mul_(high - low).add_(low)
    grayscale = hit(view.grayscale_p)
    blur = hit(view.blur_p)
    sigma = uniform(n).mul_(view.blur_sigma[1] - view.blur_sigma[0]).add_(view.blur_sigma[0])
    return ViewParameters(
        box=box,
        flip=flip,
        order=order.masked_fill_(~jittered, NOT_JITTERED),
        factors=factors.t(),
        grayscale=grayscale,
        blur=blur,
        sigma=sigma,
        solarize=hit(view.solarize_p),
        extras=draw_extras(view, n, channels=channels, generator=generator),
    )


def _random_boxes(uniform: Tensor, view: View, height: int, width: int) -> Tensor:
    """Torchvision's RandomResizedCrop for a whole batch: the first of 10 tries that fits, else the central crop.

    Args:
        uniform: ``(4, n, 10)`` numbers in [0, 1): area, ratio, row and column of each try.

    Returns:
        ``(n, 4)`` top, left, height, width.
    """
    area = (view.scale[0] + (view.scale[1] - view.scale[0]) * uniform[0]) * (height * width)
    low, high = math.log(view.ratio[0]), math.log(view.ratio[1])
    ratio = torch.exp(low + (high - low) * uniform[1])
    w, h = torch.sqrt(area * ratio).round_(), torch.sqrt(area / ratio).round_()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    h, w, down, right = (values.gather(1, first).squeeze(1) for values in (h, w, uniform[2], uniform[3]))
    # Float32 can round a product just below the number of positions up to it.
    top = torch.minimum((down * (height - h + 1)).floor_(), height - h)
    left = torch.minimum((right * (width - w + 1)).floor_(), width - w)
    boxes = torch.stack((top, left, h, w), 1)
    central = boxes.new_empty(4)
    for i, value in enumerate(central_box(height, width, view.ratio)):
        central[i].fill_(value)  # a fill, unlike a copy from the host, does not wait for the device
    return torch.where(fits.any(1, keepdim=True), boxes, central)


def central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """The greatest central crop whose width / height lies within ``ratio``: top, left, height, width.

    Example:
        >>> central_box(100, 400, (0.75, 1.5))
        (0, 125, 100, 150)
    """
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


@lru_cache(maxsize=16)
def order_table(device: torch.device) -> Tensor:
    """``(25, 4)``: :data:`ORDERS`, and in row ``NOT_JITTERED`` some order, on a device."""
    return torch.tensor((*ORDERS, ORDERS[0]), device=device)
