"""Changes of color that exemplar methods make to images, batched, on any device."""

import torch
from torch import Tensor

from sslbolts.transforms.color import adjust_hue_
from sslbolts.transforms.color_defenses import mean_gray

__all__ = ["hsv_noise", "without_color"]


def without_color(images: Tensor, gray: Tensor) -> Tensor:
    """Some images in gray, the mean of their channels in each.

    Args:
        images: ``(B, C, H, W)``.
        gray: ``(B,)`` bool, which.

    Example:
        >>> images = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
        >>> without_color(images, torch.tensor([True, False])).flatten(1).tolist()
        [[3.0, 3.0, 3.0], [1.0, 2.0, 6.0]]
    """
    return torch.where(gray[:, None, None, None], mean_gray(images), images)


def hsv_noise(images: Tensor, draws: Tensor) -> Tensor:
    r"""Saturation and value of each image by a curve of its own, hue turned by an angle of its own.

    .. math:: x \to x^{2^a} \cdot 2^b + c, \quad a \in [-2, 2], b \in [-0.5, 0.5], c \in [-0.1, 0.1]

    for saturation and value, cut off at 0 and 1, and up to a tenth of a turn for the hue. Gray pixels, which have no
    hue, stay gray.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1]; of other numbers of channels, only the value is changed.
        draws: ``(B, 7)`` uniform in [0, 1): `a`, `b`, `c` of the saturation, those of the value, and the hue.

    Returns:
        ``(B, 3, H, W)``, new.

    Source: Dosovitskiy et al., Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural
    Networks, arXiv:1406.6909; with these ranges Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019,
    arXiv:1905.03670, their code.

    Example:
        >>> images = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1)
        >>> [round(x, 4) for x in hsv_noise(images, torch.full((1, 7), 0.5)).flatten().tolist()]  # no change
        [0.2, 0.4, 0.8]
    """
    signed = 2 * draws[..., None, None, None] - 1
    a_s, b_s, c_s, a_v, b_v, c_v, turns = signed.unbind(1)  # (B, 1, 1, 1) each
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)  # (B, 1, H, W)
    chroma = value - least
    # Each channel between the least, 0, and the greatest, 1: what it has of the hue.
    hue = torch.where(chroma > 0, (images - least) / chroma.clamp_min(1e-12), 1.0)
    saturation = _curve(chroma / value.clamp_min(1e-12), a_s, b_s, c_s)
    changed = _curve(value, a_v, b_v, c_v) * (1 - saturation * (1 - hue))
    return adjust_hue_(changed, 0.1 * turns) if images.shape[1] == 3 else changed


def _curve(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return (x ** (4**a) * 2 ** (b / 2) + c / 10).clamp(0, 1)
