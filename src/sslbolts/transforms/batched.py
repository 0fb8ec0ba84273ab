"""Augmentation and evaluation transforms of whole batches, on the device that the images are on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.transforms.blur import gaussian_blur
from sslbolts.transforms.color import colors, grayscale_, jitter_, jitter_branch_free, luma, solarize_
from sslbolts.transforms.geometry import flipped, padded, resized_crop
from sslbolts.transforms.linear_color import apply_color_maps, color_maps
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, ViewParameters, draw_parameters
from sslbolts.transforms.recipes import Evaluation, View

__all__ = ["BatchedAugment", "BatchedEvaluate"]

# On a CPU, bytes of float32 pixels that go through all operations together, and through one color operation together:
# few enough to stay in the caches, many enough that the time goes into pixels and not into calls.
_PART_BYTES = 2**23
_GROUP_BYTES = 2**19


class BatchedAugment:
    """Makes one view of every image of a batch, each image with its own random parameters.

    Every operation equals torchvision's on float images with the same parameters. On a CPU the images are put in
    groups with the same order of color operations, so that no operation is computed for an image that does not get
    it; elsewhere all images go through the same kernels, without branches and without waiting for the device. Crops
    and blur are matrix products there, which ``torch.set_float32_matmul_precision("high")`` lets a GPU round to TF32:
    with it, pixels can be off by a fraction of a level of 255.

    Args:
        view: what to do.
        mean, std: per channel, for images in [0, 1], subtracted and divided by at the end; None leaves [0, 1].
        color: "exact" has torchvision's color jitter (four operations in random order, clamped after each);
            "linear" is one linear map per image, clamped once: faster on a CPU, approximate (the hue most).

    Raises:
        UsageError: for an unknown ``color``, or one of ``mean`` and ``std`` without the other.

    Example:
        >>> augment = BatchedAugment(View(32, jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2))
        >>> images = torch.randint(0, 256, (8, 3, 48, 40), dtype=torch.uint8)
        >>> view = augment(images, generator=torch.Generator().manual_seed(0))
        >>> view.shape, view.dtype
        (torch.Size([8, 3, 32, 32]), torch.float32)
    """

    def __init__(
        self,
        view: View,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        color: Literal["exact", "linear"] = "exact",
    ) -> None:
        if color not in ("exact", "linear"):
            raise UsageError(f'color="{color}" is unknown: use "exact" or "linear".')
        self.view = view
        self.color = color
        self.normalize = _Normalize(mean, std)

    def __call__(
        self, images: Tensor, *, generator: torch.Generator, crop: bool = True, flip: Tensor | None = None
    ) -> Tensor:
        """Draws parameters and applies them.

        Args:
            images: ``(B, C, H, W)`` uint8, or float in [0, 1]; C is 1, 3 or 4 (the fourth channel gets no color
                operation).
            generator: where all randomness comes from; on the images' device.
            crop: False leaves the crop out, and what comes before it, for images that
                :func:`~sslbolts.transforms.random_crops` made.
            flip: ``(B,)`` bool, which images are flipped; None draws it.

        Returns:
            ``(B, C, size, size)`` float32.

        Raises:
            UsageError: for images of another shape or type, or on another device than the generator.
        """
        self._check(images, generator, crop)
        images = padded(images, self.view.padding) if crop else images
        n, _, height, width = images.shape
        draws = draw_parameters(self.view, n, height, width, generator=generator, crop=crop)
        return self.apply(images, draws if flip is None else replace(draws, flip=flip))

    @torch.no_grad()
    def apply(self, images: Tensor, draws: ViewParameters) -> Tensor:
        """Applies parameters that were drawn before; the pure part of ``__call__``."""
        with torch.autocast(images.device.type, enabled=False):
            if images.device.type == "cpu":
                return self._in_groups(images, draws)
            return self._branch_free(images, draws)

    def _in_groups(self, images: Tensor, draws: ViewParameters) -> Tensor:
        n, channels, height, width = images.shape
        size = self.view.size
        out = torch.empty(n, channels, size, size)
        by_order = None if self._is_linear(channels) else draws.order.argsort(stable=True)
        pixels = max(height * width, size**2) if self.view.color_first else size**2
        for part in _slices(0, n, _PART_BYTES // (4 * channels * pixels)):
            if by_order is None:
                out[part] = self._part(images[part], draws.take(part))
            else:
                rows = by_order[part]
                out[rows] = self._part(images.index_select(0, rows), draws.take(rows))
        return out

    def _part(self, images: Tensor, draws: ViewParameters) -> Tensor:
        """Images that fit into the cache, from crop to normalization; those of one color order are neighbors."""
        x = self._place_and_color(images, draws, self.color_groups).contiguous()
        rgb = colors(x)
        blurred = draws.blur.nonzero().squeeze(1)
        if len(blurred):
            x[blurred] = gaussian_blur(x.index_select(0, blurred), draws.sigma[blurred], self.view.kernel)
        inverted = draws.solarize.nonzero().squeeze(1)
        if len(inverted):
            rgb[inverted] = solarize_(rgb.index_select(0, inverted), self.view.solarize_threshold)
        return self.normalize(x)

    def color_groups(self, x: Tensor, draws: ViewParameters) -> Tensor:
        """Jitter and grayscale of float images ``(n, C, H, W)``, sorted by their color order; may change them."""
        x = x.contiguous()
        rgb = colors(x)
        if self._is_linear(x.shape[1]):
            return _with_colors(x, apply_color_maps(rgb, *color_maps(draws.order, draws.factors, draws.grayscale)))
        factors = draws.factors.t()[..., None, None, None]  # (4, n, 1, 1, 1)
        for start, stop, operations in _runs(draws.order):
            effective = [operation for operation in operations if self.view.jitter[operation] > 0]
            for group in _slices(start, stop, _GROUP_BYTES // (4 * x[0].numel())):
                jitter_(rgb[group], effective, factors[:, group])
        if x.shape[1] > 1:
            gray = draws.grayscale.nonzero().squeeze(1)
            rgb[gray] = luma(rgb.index_select(0, gray)).expand(-1, 3, -1, -1)
        return x

    def _branch_free(self, images: Tensor, draws: ViewParameters) -> Tensor:
        x = self._place_and_color(images, draws, self._color_branch_free)
        if self.view.blur_p > 0:
            x = torch.where(_per_image(draws.blur), gaussian_blur(x, draws.sigma, self.view.kernel), x)
        if self.view.solarize_p > 0:
            inverted = solarize_(colors(x).clone(), self.view.solarize_threshold)
            x = _with_colors(x, torch.where(_per_image(draws.solarize), inverted, colors(x)))
        return self.normalize(x).contiguous()

    def _color_branch_free(self, x: Tensor, draws: ViewParameters) -> Tensor:
        rgb = colors(x)
        if self._is_linear(x.shape[1]):
            rgb = apply_color_maps(rgb, *color_maps(draws.order, draws.factors, draws.grayscale))
        else:
            if any(self.view.jitter) and self.view.jitter_p > 0:
                rgb = jitter_branch_free(rgb, draws.order, draws.factors.t()[..., None, None, None])
            if self.view.grayscale_p > 0 and x.shape[1] > 1:
                rgb = torch.where(_per_image(draws.grayscale), grayscale_(rgb.clone()), rgb)
        return _with_colors(x, rgb)

    def _place_and_color(
        self, images: Tensor, draws: ViewParameters, color: Callable[[Tensor, ViewParameters], Tensor]
    ) -> Tensor:
        """Crop, flip and colors in the view's order: ``(n, C, size, size)`` float32 in [0, 1]."""
        if not self.view.color_first:
            return color(self._place(images, draws), draws)
        if draws.box is None:  # the colors of these crops were changed before they were cut
            return self._place(images, draws)
        return self._place(color(pixels_of(images), draws), draws)

    def _is_linear(self, channels: int) -> bool:
        """One channel has only brightness and contrast, which are fast enough to be exact."""
        return self.color == "linear" and channels > 1

    def _place(self, images: Tensor, draws: ViewParameters) -> Tensor:
        """Crop and flip: ``(n, C, H, W)`` of any kind to ``(n, C, size, size)`` float32 in [0, 1]."""
        if draws.box is None:
            return flipped(images, draws.flip)
        return resized_crop(images, draws.box, draws.flip, self.view.size, self.view.interpolation)

    def _check(self, images: Tensor, generator: torch.Generator, crop: bool) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
            raise UsageError(
                f"Images of shape {tuple(images.shape)} cannot be augmented: "
                "they must be (batch, channels, height, width) with 1, 3 or 4 channels."
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise UsageError(f"Images of type {images.dtype} cannot be augmented: use uint8, or float from 0 to 1.")
        size = self.view.size
        if not crop and images.shape[-2:] != (size, size):
            raise UsageError(
                f"crop=False needs images of {size}x{size} pixels, the size of the view, "
                f"but they have {images.shape[-2]}x{images.shape[-1]}: use crop=True."
            )
        if generator.device.type != images.device.type:
            raise UsageError(
                f"The generator is on {generator.device} but the images are on {images.device}: "
                f"make it with torch.Generator(device={str(images.device)!r})."
            )


class BatchedEvaluate:
    """Resizes the shorter side of a batch of images, cuts out the center and normalizes; nothing is random.

    Args:
        evaluation: the sizes.
        mean, std: per channel, for images in [0, 1]; None leaves [0, 1].

    Example:
        >>> evaluate = BatchedEvaluate(Evaluation(resize=36, size=32), mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> evaluate(torch.zeros(2, 3, 48, 64, dtype=torch.uint8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, evaluation: Evaluation, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        self.evaluation = evaluation
        self.normalize = _Normalize(mean, std)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` uint8, or float in [0, 1], to ``(B, C, size, size)`` float32."""
        return self.normalize(resize_and_center(pixels_of(images), self.evaluation)).contiguous()


def pixels_of(images: Tensor) -> Tensor:
    """A copy of uint8 images, or of float images in [0, 1], as float32 in [0, 1]."""
    pixels = images.to(torch.float32, copy=True)
    return pixels if images.is_floating_point() else pixels.div_(255)


def resize_and_center(images: Tensor, evaluation: Evaluation) -> Tensor:
    """The shorter side to ``evaluation.resize`` pixels, then the central square; ``(n, C, H, W)`` of any type."""
    height, width = images.shape[-2:]
    shorter = min(height, width)
    if shorter != evaluation.resize:
        height, width = height * evaluation.resize // shorter, width * evaluation.resize // shorter
        images = F.interpolate(images, (height, width), mode=evaluation.interpolation, antialias=True)
        if evaluation.interpolation == "bicubic" and images.is_floating_point():
            images = images.clamp_(0, 1)
    top, left = round((height - evaluation.size) / 2), round((width - evaluation.size) / 2)
    return images[..., top : top + evaluation.size, left : left + evaluation.size]


class _Normalize:
    """``(x - mean) / std`` per channel, in place; without mean and std, nothing."""

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        if (mean is None) != (std is None):
            raise UsageError("mean and std belong together: give both, or neither.")
        if mean is not None and std is not None and (len(mean) != len(std) or min(std) <= 0):
            raise UsageError(f"mean={mean} and std={std} need one number per channel each, and std above 0.")
        self.mean = tuple(mean or ())
        self.std = tuple(std or ())

    def __call__(self, images: Tensor) -> Tensor:
        if not self.mean:
            return images
        if len(self.mean) != images.shape[1]:
            raise UsageError(
                f"mean={self.mean} has {len(self.mean)} numbers but the images have {images.shape[1]} channels: "
                "give one number per channel."
            )
        mean, std = _constants(self.mean, self.std, images.device)
        return images.sub_(mean).mul_(1 / std)


@lru_cache(maxsize=64)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    as_planes = torch.tensor((mean, std), device=device)[..., None, None]
    return as_planes[0], as_planes[1]


def _slices(start: int, stop: int, most: int) -> Iterator[slice]:
    """Consecutive slices of ``start:stop``, each of ``most`` or fewer but at least one."""
    for low in range(start, stop, max(1, most)):
        yield slice(low, min(low + max(1, most), stop))


def _runs(order: Tensor) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Start, stop and operations of each run of jittered images with one order; ``order`` is sorted."""
    start = 0
    for operations, count in zip(ORDERS, order.bincount(minlength=NOT_JITTERED + 1).tolist()):
        if count:
            yield start, start + count, operations
        start += count


def _with_colors(images: Tensor, rgb: Tensor) -> Tensor:
    """``images`` with other colors; a fourth channel stays."""
    return torch.cat((rgb, images[:, 3:]), 1) if images.shape[1] == 4 else rgb


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
