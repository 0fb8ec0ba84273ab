"""Color operations with torchvision's semantics, every image with its own parameters.

All take ``(n, C, H, W)`` float images in [0, 1], of any strides, and one row of parameters per image, and change the
images in place. They get the channels that are colors, 3 or 1 (:mod:`sslbolts.transforms.channels`): one channel
knows brightness and contrast only.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sslbolts.transforms.parameters import BRIGHTNESS, CONTRAST, HUE, NOT_JITTERED, SATURATION, order_table

__all__ = [
    "adjust_brightness_",
    "adjust_contrast_",
    "adjust_hue_",
    "adjust_saturation_",
    "grayscale_",
    "jitter_",
    "jitter_branch_free",
    "luma",
    "mean_luma",
    "solarize_",
]

# ITU-R 601-2 as PIL and torchvision round it.
LUMA = (0.2989, 0.587, 0.114)


def luma(images: Tensor) -> Tensor:
    """The gray value ``0.2989 R + 0.587 G + 0.114 B``, ``(n, 1, H, W)``; of one channel, that channel itself."""
    if images.shape[1] == 1:
        return images.clone()
    r, g, b = images.unbind(1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2]).unsqueeze(1)


def mean_luma(images: Tensor) -> Tensor:
    """The mean of :func:`luma` over an image, ``(n, 1, 1, 1)``: the luma of the mean colors."""
    means = images.mean((2, 3), keepdim=True)
    return means if images.shape[1] == 1 else means.mul_(_luma_weights(images.device)).sum(1, keepdim=True)


def adjust_brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """``clamp(factor x, 0, 1)``; ``factor`` is ``(n, 1, 1, 1)`` and at least 0."""
    return images.mul_(factor).clamp_(0, 1)


def adjust_contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """``clamp(factor x + (1 - factor) mean(luma(x)), 0, 1)``; ``factor`` is ``(n, 1, 1, 1)`` and at least 0."""
    gray = mean_luma(images).mul_(1 - factor)
    return images.mul_(factor).add_(gray).clamp_(0, 1)


def adjust_saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """``clamp(factor x + (1 - factor) luma(x), 0, 1)``; ``factor`` is ``(n, 1, 1, 1)`` and at least 0."""
    gray = luma(images).mul_(1 - factor)
    return images.mul_(factor).add_(gray).clamp_(0, 1)


def adjust_hue_(images: Tensor, turns: Tensor) -> Tensor:
    """Adds ``turns`` to the hue of HSV and leaves saturation and value as they are.

    With M and m the greatest and least channel, C = M - m and h the hue in turns, HSV's inverse is, per channel,
    ``m + 6 C clamp(|h - 1/2| - 1/6, 0, 1/6)`` for red and ``m + 6 C clamp(1/3 - |h - h_c|, 0, 1/6)`` with
    h_c = 1/3 for green and 2/3 for blue. h follows from sorting the three channels by two compare-and-swap steps.
    There are no branches and hardly a select: those cost several times an addition in eager mode on a CPU.

    Args:
        images: ``(n, 3, H, W)``.
        turns: ``(n, 1, 1, 1)``, from -0.5 to 0.5.
    """
    r, g, b = images.unbind(1)  # (n, H, W) each
    high, low = torch.maximum(g, b), torch.minimum(g, b)
    swapped = torch.lt(g, b, out=torch.empty_like(high))
    greatest, middle = torch.maximum(r, high), torch.minimum(r, high)
    turned = torch.lt(r, high, out=high)
    # 0, 1, 1/3 or -2/3 turns, depending on which channel is the greatest and which of the others is greater.
    hue = torch.add(swapped, turned, alpha=1 / 3).addcmul_(swapped, turned, value=-2)
    least = torch.minimum(middle, low)
    chroma = greatest.sub_(least).clamp_min_(1e-20)  # a gray pixel has 0 / 1e-20 = hue 0
    hue.addcdiv_(middle.sub_(low), chroma, value=-1 / 6).abs_()
    hue.add_(turns.squeeze(1) + 1).frac_()
    torch.sub(hue.unsqueeze(1), _hue_offsets(images.device), out=images).abs_().clamp_(1 / 6, 1 / 3)
    torch.addcmul(least - chroma, chroma, r, value=6, out=r)
    base = least.add_(chroma, alpha=2)
    torch.addcmul(base, chroma, g, value=-6, out=g)
    torch.addcmul(base, chroma, b, value=-6, out=b)
    return images


def grayscale_(images: Tensor) -> Tensor:
    """Every color becomes the luma."""
    return images.copy_(luma(images).expand_as(images))


def solarize_(images: Tensor, threshold: float) -> Tensor:
    """``1 - x`` where ``x >= threshold``; the threshold is in levels of 255."""
    # x / 255 and x * (1 / 255) differ in the last bit: a level equal to the threshold is inverted either way.
    above = (images >= threshold / 255 - 1e-6).to(images.dtype)
    return images.addcmul_(above, images, value=-2).add_(above)  # x - 2 x + 1 where above


def jitter_(images: Tensor, operations: Sequence[int], factors: Tensor) -> Tensor:
    """Applies color operations one after another, in one order for all images.

    Args:
        images: ``(n, 1 or 3, H, W)``.
        operations: BRIGHTNESS, CONTRAST, SATURATION, HUE in the order wanted; those left out are not applied.
        factors: ``(4, n, 1, 1, 1)``: brightness, contrast and saturation factors, hue shifts in turns.
    """
    adjust = {
        BRIGHTNESS: adjust_brightness_,
        CONTRAST: adjust_contrast_,
        SATURATION: adjust_saturation_,
        HUE: adjust_hue_,
    }
    for operation in operations:
        if images.shape[1] == 3 or operation in (BRIGHTNESS, CONTRAST):
            adjust[operation](images, factors[operation])
    return images


def jitter_branch_free(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """The same with one order per image and the same kernels for every image, as accelerators like it.

    Every order is some of brightness, contrast and saturation, then the hue, then the others. Each of the three is
    ``clamp(f x + (1 - f) t, 0, 1)`` with t = 0, mean luma or luma, and f = 1 leaves an image as it is. So all orders
    are three blends, one hue shift and three blends, some of them with f = 1.

    Args:
        images: ``(n, 1 or 3, H, W)``; not changed.
        order: ``(n,)`` row of ``ORDERS`` or ``NOT_JITTERED``.
        factors: ``(4, n, 1, 1, 1)``.

    Returns:
        ``(n, 1 or 3, H, W)``.
    """
    operations = order_table(images.device).index_select(0, order)  # (n, 4)
    step = torch.arange(4, device=images.device)
    hue_at = (operations == HUE).to(torch.uint8).argmax(1, keepdim=True)
    factor = factors.flatten(1).t().gather(1, operations)
    jittered = order[:, None] != NOT_JITTERED
    before = torch.where(jittered & (step < hue_at), factor, 1.0)[:, :3]
    after = torch.where(jittered & (step > hue_at), factor, 1.0)[:, 1:]
    out = _blends(images, before, operations[:, :3])
    if images.shape[1] == 3:
        out = torch.where(jittered[:, :, None, None], adjust_hue_(out.clone(), factors[HUE]), out)
    return _blends(out, after, operations[:, 1:])


def _blends(images: Tensor, factor: Tensor, operation: Tensor) -> Tensor:
    """``clamp(f x + (1 - f) t, 0, 1)`` for the columns of ``factor`` and ``operation`` one after another."""
    of_mean = ((1 - factor) * (operation == CONTRAST)).t()[..., None, None, None]
    of_luma = ((1 - factor) * (operation == SATURATION)).t()[..., None, None, None]
    for f, mean_part, luma_part in zip(factor.t()[..., None, None, None], of_mean, of_luma, strict=True):
        gray = luma(images)
        target = gray * luma_part + gray.mean((2, 3), keepdim=True) * mean_part
        images = (images * f + target).clamp_(0, 1)
    return images


@lru_cache(maxsize=16)
def _luma_weights(device: torch.device) -> Tensor:
    return torch.tensor(LUMA, device=device)[:, None, None]


@lru_cache(maxsize=16)
def _hue_offsets(device: torch.device) -> Tensor:
    return torch.tensor((1 / 2, 1 / 3, 2 / 3), device=device)[:, None, None]
