"""Resized crops of a whole batch, every image with its own box and flip.

Resizing is linear in the pixels, so a crop is two matrix products, ``rows @ image @ columns.T``, whose matrices hold
the antialiased interpolation weights that PIL and torchvision use. Flipping is writing the rows of ``columns`` in
reverse. For images of CIFAR's size the matrices of all boxes are made once and looked up.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbolts.transforms.levels import greatest_level, mirrored

__all__ = ["flipped", "padded", "resized_crop"]

# The greatest table of all interpolation matrices, in bytes: 32 pixel images need 4 MB per table and flip.
_TABLE_LIMIT = 2**24


def resized_crop(images: Tensor, box: Tensor, flip: Tensor, size: int, interpolation: str) -> Tensor:
    """Cuts one box out of every image, resizes it with antialiasing and flips it.

    Equal to torchvision's ``resized_crop(image, *box, size, antialias=True)`` on float images, then ``hflip``, then
    for bicubic, which overshoots, a clamp.

    Args:
        images: ``(n, C, H, W)`` uint8 or uint16, or float in [0, 1].
        box: ``(n, 4)`` top, left, height and width in whole pixels, within the image.
        flip: ``(n,)`` bool.
        size: side of the result, pixels.
        interpolation: "bilinear" or "bicubic".

    Returns:
        ``(n, C, size, size)`` float32 in [0, 1], strides unspecified.
    """
    height, width = images.shape[-2:]
    if images.device.type == "cpu" and _table_bytes(max(height, width), size) > _TABLE_LIMIT:
        return _one_by_one(images, box, flip, size, interpolation)
    return _by_matrices(images, box, flip, size, interpolation)


def padded(images: Tensor, part: float) -> Tensor:
    """Images ``(..., H, W)`` with a black border on all sides, as wide as that part of their shorter side."""
    width = round(part * min(images.shape[-2:]))
    return F.pad(images, (width,) * 4) if width else images


def flipped(images: Tensor, flip: Tensor) -> Tensor:
    """Images as float32 from 0 to 1, mirrored where ``flip`` is true.

    Args:
        images: ``(n, C, H, W)`` uint8 or uint16, or float in [0, 1]; not changed.
        flip: ``(n,)`` bool.

    Returns:
        ``(n, C, H, W)`` float32.
    """
    if images.device.type == "cpu":  # bytes are mirrored four times as fast as floats, and only where needed
        pixels = torch.empty(images.shape)
        for image, mirror, target in zip(images, flip.tolist(), pixels, strict=True):
            target.copy_(mirrored(image) if mirror else image)
    else:
        same = images if images.dtype == torch.uint8 else images.to(torch.float32)  # few kernels know 16 bits
        pixels = torch.where(flip[:, None, None, None], same.flip(-1), same).to(torch.float32)
    return pixels if images.is_floating_point() else pixels.div_(greatest_level(images))


def _by_matrices(images: Tensor, box: Tensor, flip: Tensor, size: int, interpolation: str) -> Tensor:
    n, channels, height, width = images.shape
    top, left, h, w = box.unbind(1)
    gain = 1 / greatest_level(images)
    if _table_bytes(max(height, width), size) <= _TABLE_LIMIT:
        rows = _table(height, size, interpolation, gain, images.device).index_select(0, _place(top, h, height))
        columns = _mirrored_table(width, size, interpolation, images.device).index_select(
            0, 2 * _place(left, w, width) + flip
        )
    else:
        rows = interpolation_matrices(top, h, height, size, interpolation) * gain
        columns = interpolation_matrices(left, w, width, size, interpolation)
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    # The channels lie between rows and columns, so that each product has one matrix per image for all channels.
    pixels = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)  # (n, H, C, W)
    pixels = torch.bmm(rows, pixels.reshape(n, height, channels * width))  # (n, size, C W)
    pixels = torch.bmm(pixels.view(n, size * channels, width), columns.mT)  # (n, size C, size)
    if interpolation == "bicubic":
        pixels.clamp_(0, 1)
    return pixels.view(n, size, channels, size).transpose(1, 2)


def _one_by_one(images: Tensor, box: Tensor, flip: Tensor, size: int, interpolation: str) -> Tensor:
    """On a CPU, from about 48 pixels on, resizing crop by crop costs less than matrices full of zeros."""
    out = torch.empty(len(images), images.shape[1], size, size)
    for image, (top, left, h, w), mirror, target in zip(images, box.long().tolist(), flip.tolist(), out, strict=True):
        crop = image[None, :, top : top + h, left : left + w]
        crop = crop.to(torch.float32, memory_format=torch.channels_last)
        crop = F.interpolate(crop, (size, size), mode=interpolation, antialias=True)[0]
        target.copy_(crop.flip(-1) if mirror else crop)
    if not images.is_floating_point():
        out.mul_(1 / greatest_level(images))
    return out.clamp_(0, 1) if interpolation == "bicubic" else out


def interpolation_matrices(start: Tensor, length: Tensor, in_size: int, out_size: int, interpolation: str) -> Tensor:
    """The weights with which input pixels make up output pixels when ``[start, start + length)`` is resized.

    The kernel (triangle or Keys' cubic with a = -1/2) is widened by the scale where the interval shrinks, reaches no
    pixel outside the interval, and sums to one.

    Args:
        start, length: ``(n,)`` float.

    Returns:
        ``(n, out_size, in_size)`` float32.
    """
    scale = (length / out_size)[:, None]
    out_index = torch.arange(out_size, device=start.device, dtype=torch.float32)
    in_center = torch.arange(in_size, device=start.device, dtype=torch.float32) + 0.5
    center = start[:, None] + (out_index + 0.5) * scale  # (n, out)
    distance = (in_center - center[..., None]).abs_().div_(scale.clamp_min(1.0)[..., None])  # (n, out, in)
    weights = _triangle(distance) if interpolation == "bilinear" else _cubic(distance)
    inside = (in_center > start[:, None]) & (in_center < (start + length)[:, None])
    weights = weights * inside[:, None]
    return weights / weights.sum(-1, keepdim=True)


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp_min_(0)


def _cubic(distance: Tensor) -> Tensor:
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _table_bytes(in_size: int, out_size: int) -> int:
    return 4 * in_size * in_size * out_size * in_size


def _place(start: Tensor, length: Tensor, in_size: int) -> Tensor:
    """The row of :func:`_table` for an interval."""
    return (start * in_size + (length - 1)).long()


@lru_cache(maxsize=16)
def _table(in_size: int, out_size: int, interpolation: str, gain: float, device: torch.device) -> Tensor:
    """The matrices of all intervals of whole pixels, times ``gain``: ``(in_size^2, out_size, in_size)``."""
    start = torch.arange(in_size, dtype=torch.float32).repeat_interleave(in_size)
    length = torch.arange(1, in_size + 1, dtype=torch.float32).repeat(in_size)
    length = torch.minimum(length, in_size - start)  # rows for intervals that leave the image are never looked up
    return (interpolation_matrices(start, length, in_size, out_size, interpolation) * gain).to(device)


@lru_cache(maxsize=16)
def _mirrored_table(in_size: int, out_size: int, interpolation: str, device: torch.device) -> Tensor:
    """The same, each matrix followed by its mirror image: ``(2 in_size^2, out_size, in_size)``."""
    matrices = _table(in_size, out_size, interpolation, 1.0, device)
    return torch.stack((matrices, matrices.flip(1)), 1).flatten(0, 1)
