"""Turns, noise and erased rectangles, which few recipes have; every image with its own parameters."""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from sslbolts.transforms.recipes import View

__all__ = ["ExtraParameters", "draw_extras", "erased", "noisy", "turned"]

_TRIES = 10


@dataclass
class ExtraParameters:
    """Parameters of each of ``n`` images.

    Attributes:
        vertical_flip: ``(n,)`` bool.
        quarters: ``(n,)`` int64, quarters counter-clockwise, 0 to 3.
        angle: ``(n,)`` degrees counter-clockwise.
        noise: ``(n, C, S, S)``, added to the pixels; None where there is none.
        hole: ``(n, 4)`` top, left, height, width of the erased rectangle; all 0 of images without one.
    """

    vertical_flip: Tensor
    quarters: Tensor
    angle: Tensor
    noise: Tensor | None
    hole: Tensor

    def take(self, rows: Tensor | slice) -> "ExtraParameters":
        """The parameters of some of the images."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return ExtraParameters(**taken)


def draw_extras(view: "View", n: int, *, channels: int, generator: torch.Generator) -> ExtraParameters | None:
    """Draws them, or None without drawing where the view has none of them.

    How much is drawn depends on ``n`` alone, but for the noise, which comes last.

    Args:
        view: the recipe.
        n: images.
        channels: of each.
        generator: on the images' device.
    """
    if not view.extras:
        return None
    device = generator.device
    numbers = torch.rand(6, n, device=device, generator=generator)
    tries = torch.rand(4, n, _TRIES, device=device, generator=generator)
    # Below quarter_turns, each third of it is one of the three turns.
    share = numbers[1] / view.quarter_turns if view.quarter_turns else torch.full_like(numbers[1], 2.0)
    quarters = torch.where(share < 1, (3 * share).floor() + 1, 0).clamp_(max=3).long()
    noise = None
    if view.noise_p > 0:
        low, high = view.noise_sigma
        sigma = torch.where(numbers[3] < view.noise_p, low + (high - low) * numbers[4], 0.0)
        shape = (n, channels, view.size, view.size)
        noise = torch.randn(shape, device=device, generator=generator).mul_(sigma[:, None, None, None])
    hole = _holes(tries, view) if view.erase_p > 0 else torch.zeros(n, 4, device=device)
    return ExtraParameters(
        vertical_flip=numbers[0] < view.vertical_flip,
        quarters=quarters,
        angle=(2 * numbers[2] - 1) * view.rotation,
        noise=noise,
        hole=torch.where((numbers[5] < view.erase_p)[:, None], hole, 0.0),
    )


def _holes(tries: Tensor, view: "View") -> Tensor:
    """Torchvision's RandomErasing for a whole batch: the first of 10 tries that is smaller than the view, else none.

    Args:
        tries: ``(4, n, 10)`` numbers in [0, 1): area, ratio, row and column of each.

    Returns:
        ``(n, 4)`` top, left, height, width.
    """
    least, most = view.erase_scale
    low, high = (math.log(ratio) for ratio in view.erase_ratio)
    area = (least + (most - least) * tries[0]) * view.size**2
    ratio = torch.exp(low + (high - low) * tries[1])
    h, w = torch.sqrt(area * ratio).round_(), torch.sqrt(area / ratio).round_()
    fits = (h < view.size) & (w < view.size)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    h, w, down, right = (values.gather(1, first).squeeze(1) for values in (h, w, tries[2], tries[3]))
    # Float32 can round a product just below the number of positions up to it.
    top = torch.minimum((down * (view.size - h + 1)).floor_(), view.size - h)
    left = torch.minimum((right * (view.size - w + 1)).floor_(), view.size - w)
    return torch.where(fits.any(1, keepdim=True), torch.stack((top, left, h, w), 1), 0.0)


def turned(images: Tensor, draws: ExtraParameters, view: "View") -> Tensor:
    """Vertical flip, then turns by quarters, then by an angle, whose corners are black.

    Equal to torchvision's ``vertical_flip``, ``rot90`` and ``rotate`` (bilinear) on float images.

    Args:
        images: ``(n, C, S, S)`` float.
        draws: of each image.
        view: what of it is done at all.
    """
    if view.vertical_flip > 0:
        images = torch.where(_per_image(draws.vertical_flip), images.flip(-2), images)
    if view.quarter_turns > 0:
        images = torch.where(_per_image(draws.quarters % 2 == 1), images.rot90(1, (-2, -1)), images)
        images = torch.where(_per_image(draws.quarters >= 2), images.flip((-2, -1)), images)
    if view.rotation > 0:
        angle = torch.deg2rad(draws.angle)
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # Where each pixel comes from, with rows counted downward.
        maps = torch.stack((cosine, -sine, zero, sine, cosine, zero), 1).view(-1, 2, 3)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return images


def noisy(images: Tensor, draws: ExtraParameters) -> Tensor:
    """``clamp(x + noise, 0, 1)``: torchvision's GaussianNoise."""
    return images if draws.noise is None else (images + draws.noise).clamp_(0, 1)


def erased(images: Tensor, draws: ExtraParameters) -> Tensor:
    """Images whose rectangle is 0 in all channels."""
    top, left, height, width = (values[:, None] for values in draws.hole.unbind(1))
    place = torch.arange(images.shape[-1], device=images.device)
    rows = (place >= top) & (place < top + height)  # (n, S)
    columns = (place >= left) & (place < left + width)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
