"""Augmentation and evaluation transforms of whole batches, on the device that the images are on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.checks import is_number
from sslbolts.errors import UsageError
from sslbolts.transforms.blur import gaussian_blur
from sslbolts.transforms.channels import change_, change_rows_, color_channels, put, take
from sslbolts.transforms.color import grayscale_, jitter_, jitter_branch_free, luma, solarize_
from sslbolts.transforms.extras import erased, noisy, turned
from sslbolts.transforms.geometry import flipped, padded, resized_crop
from sslbolts.transforms.levels import LEVELS, as_levels, pixels_of
from sslbolts.transforms.linear_color import apply_color_maps, color_maps
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, ViewParameters, draw_parameters
from sslbolts.transforms.recipes import Evaluation, TransformsView, View

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
        color_channels: the channels that color operations change; see :func:`~sslbolts.transforms.color_channels`.
            Where there are none, jitter changes brightness, and contrast about the mean of each channel, of all.

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
        color_channels: Sequence[int] | None = None,
    ) -> None:
        if color not in ("exact", "linear"):
            raise UsageError(f'color="{color}" is unknown: use "exact" or "linear".')
        self.view = view
        self.color = color
        self.color_channels = color_channels
        self.normalize = _Normalize(mean, std)

    def __call__(
        self, images: Tensor, *, generator: torch.Generator, crop: bool = True, flip: Tensor | None = None
    ) -> Tensor:
        """Draws parameters and applies them.

        Args:
            images: ``(B, C, H, W)`` uint8 or uint16, or float in [0, 1].
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
        draws = draw_parameters(self.view, n, height, width, generator=generator, crop=crop, channels=images.shape[1])
        made = self.apply(images, draws if flip is None else replace(draws, flip=flip))
        return made if self.view.custom is None else self._finished(self._customized(made, generator), draws)

    @torch.no_grad()
    def apply(self, images: Tensor, draws: ViewParameters) -> Tensor:
        """Applies parameters that were drawn before; the pure part of ``__call__``.

        Of a view with a function of its own, the images are not finished: they are what that function gets.
        """
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
        blurred = draws.blur.nonzero().squeeze(1)
        if len(blurred):
            x[blurred] = gaussian_blur(x.index_select(0, blurred), draws.sigma[blurred], self.view.kernel)
        inverted = draws.solarize.nonzero().squeeze(1)
        if len(inverted) and (channels := self._channels(x)):
            change_rows_(x, inverted, channels, lambda rgb: solarize_(rgb, self.view.solarize_threshold))
        return self._last(x, draws)

    def color_groups(self, x: Tensor, draws: ViewParameters) -> Tensor:
        """Jitter and grayscale of float images ``(n, C, H, W)``, sorted by their color order; may change them."""
        x = x.contiguous()
        channels = self._channels(x)
        if self._is_linear(x.shape[1]):
            maps = color_maps(draws.order, draws.factors, draws.grayscale)
            return put(x, channels, apply_color_maps(take(x, channels), *maps))
        factors = draws.factors.t()[..., None, None, None]  # (4, n, 1, 1, 1)
        for start, stop, operations in _runs(draws.order):
            effective = [operation for operation in operations if self.view.jitter[operation] > 0]
            for group in _slices(start, stop, _GROUP_BYTES // (4 * x[0].numel())):
                if channels:
                    change_(x[group], channels, lambda rgb: jitter_(rgb, effective, factors[:, group]))  # noqa: B023  # called at once
                else:
                    jitter_(*_each_channel(x[group], effective, factors[:, group]))
        if len(channels) == 3:
            gray = draws.grayscale.nonzero().squeeze(1)
            change_rows_(x, gray, channels, lambda rgb: luma(rgb).expand(-1, 3, -1, -1))
        return x

    def _branch_free(self, images: Tensor, draws: ViewParameters) -> Tensor:
        x = self._place_and_color(images, draws, self._color_branch_free)
        if self.view.blur_p > 0:
            x = torch.where(_per_image(draws.blur), gaussian_blur(x, draws.sigma, self.view.kernel), x)
        if self.view.solarize_p > 0 and (channels := self._channels(x)):
            rgb = take(x, channels)
            inverted = solarize_(rgb.clone(), self.view.solarize_threshold)
            x = put(x, channels, torch.where(_per_image(draws.solarize), inverted, rgb))
        return self._last(x, draws).contiguous()

    def _color_branch_free(self, x: Tensor, draws: ViewParameters) -> Tensor:
        channels, jittered = self._channels(x), any(self.view.jitter) and self.view.jitter_p > 0
        factors = draws.factors.t()[..., None, None, None]  # (4, n, 1, 1, 1)
        if not channels:
            if not jittered:
                return x
            planes, order, factors = _each_channel(x, draws.order, factors)
            return jitter_branch_free(planes, order, factors).view(x.shape)
        rgb = take(x, channels)
        if self._is_linear(x.shape[1]):
            rgb = apply_color_maps(rgb, *color_maps(draws.order, draws.factors, draws.grayscale))
        else:
            if jittered:
                rgb = jitter_branch_free(rgb, draws.order, factors)
            if self.view.grayscale_p > 0 and len(channels) == 3:
                rgb = torch.where(_per_image(draws.grayscale), grayscale_(rgb.clone()), rgb)
        return put(x, channels, rgb)

    def _place_and_color(
        self, images: Tensor, draws: ViewParameters, color: Callable[[Tensor, ViewParameters], Tensor]
    ) -> Tensor:
        """Crop, flip and colors in the view's order: ``(n, C, size, size)`` float32 in [0, 1]."""
        if not self.view.color_first:
            return color(self._place(images, draws), draws)
        if draws.box is None:  # the colors of these crops were changed before they were cut
            return self._place(images, draws)
        return self._place(color(pixels_of(images), draws), draws)

    def _channels(self, images: Tensor) -> tuple[int, ...]:
        return color_channels(self.color_channels, images.shape[1])

    def _is_linear(self, in_chans: int) -> bool:
        """One channel has only brightness and contrast, which are fast enough to be exact."""
        return self.color == "linear" and len(color_channels(self.color_channels, in_chans)) == 3

    def _place(self, images: Tensor, draws: ViewParameters) -> Tensor:
        """Crop, flip and turns: ``(n, C, H, W)`` of any kind to ``(n, C, size, size)`` float32 in [0, 1]."""
        if draws.box is None:
            x = flipped(images, draws.flip)
        else:
            x = resized_crop(images, draws.box, draws.flip, self.view.size, self.view.interpolation)
        return x if draws.extras is None else turned(x, draws.extras, self.view)

    def _last(self, x: Tensor, draws: ViewParameters) -> Tensor:
        """Noise, and what finishes images; that waits for a function of the user's, which sees the whole batch."""
        x = x if draws.extras is None else noisy(x, draws.extras)
        return x if self.view.custom is not None else self._finished(x, draws)

    def _finished(self, x: Tensor, draws: ViewParameters) -> Tensor:
        x = self.normalize(x)
        return x if draws.extras is None or self.view.erase_p == 0 else erased(x, draws.extras)

    @torch.no_grad()
    def _customized(self, images: Tensor, generator: torch.Generator) -> Tensor:
        assert self.view.custom is not None
        made = self.view.custom(images, generator)
        if not isinstance(made, Tensor) or made.shape != images.shape or made.dtype != images.dtype:
            got = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise UsageError(
                f"custom={self.view.custom!r} made {got} of images {tuple(images.shape)}: it must give float32 images "
                "of the same shape."
            )
        return made.clone() if made is images else made

    def _check(self, images: Tensor, generator: torch.Generator, crop: bool) -> None:
        if images.ndim != 4 or images.shape[1] == 0:
            raise UsageError(
                f"Images of shape {tuple(images.shape)} cannot be augmented: "
                "they must be (batch, channels, height, width)."
            )
        if images.dtype not in LEVELS and not images.is_floating_point():
            raise UsageError(
                f"Images of type {images.dtype} cannot be augmented: use uint8, uint16, or float from 0 to 1."
            )
        size = self.view.size
        if crop and isinstance(self.view, TransformsView):
            raise UsageError(
                "views that transforms of torchvision make are made image by image, which these images in batches are "
                "not: give View(...)."
            )
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
        """``(B, C, H, W)`` uint8 or uint16, or float in [0, 1], to ``(B, C, size, size)`` float32."""
        return self.normalize(resize_and_center(pixels_of(images), self.evaluation)).contiguous()


def resize_and_center(images: Tensor, evaluation: Evaluation) -> Tensor:
    """The shorter side to ``evaluation.resize`` pixels, then the central square; ``(n, C, H, W)``, levels or float."""
    height, width = images.shape[-2:]
    shorter = min(height, width)
    if shorter != evaluation.resize:
        height, width = height * evaluation.resize // shorter, width * evaluation.resize // shorter
        images = resized(images, height, width, evaluation.interpolation)
    top, left = round((height - evaluation.size) / 2), round((width - evaluation.size) / 2)
    return images[..., top : top + evaluation.size, left : left + evaluation.size]


def resized(images: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Images ``(n, C, H, W)`` of another size, antialiased and of the same type: levels, or float in [0, 1]."""
    deep = images.dtype == torch.uint16  # which no kernel resizes
    out = F.interpolate(pixels_of(images) if deep else images, (height, width), mode=interpolation, antialias=True)
    if interpolation == "bicubic" and out.is_floating_point():
        out = out.clamp_(0, 1)
    return as_levels(out, images.dtype) if deep else out


class _Normalize:
    """``(x - mean) / std`` per channel, in place; without mean and std, nothing."""

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        if (mean is None) != (std is None):
            raise UsageError("mean and std belong together: give both, or neither.")
        if mean is not None and std is not None:
            right = all(map(is_number, (*mean, *std))) and all(value > 0 for value in std)
            if len(mean) != len(std) or not right:
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


def _each_channel(images: Tensor, what: Any, factors: Tensor) -> tuple[Tensor, Any, Tensor]:
    """Every channel ``(n C, 1, H, W)`` as an image of its own, with the factors, and the order, of its image."""
    n, channels = images.shape[:2]
    many = factors[:, :, None].expand(-1, -1, channels, -1, -1, -1).reshape(len(factors), n * channels, 1, 1, 1)
    if isinstance(what, Tensor):
        what = what[:, None].expand(-1, channels).reshape(-1)
    return images.reshape(n * channels, 1, *images.shape[2:]), what, many


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
