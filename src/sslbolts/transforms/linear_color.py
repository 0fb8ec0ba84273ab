"""Color jitter and grayscale as one linear map of the three colors: the fast approximation.

FFCV-SSL (Bordes et al., Towards Democratizing Joint-Embedding Self-Supervised Learning, arXiv:2303.01986) has the
same idea. Unlike torchvision, values are clamped once at the end instead of after every operation, and the hue
turns about the gray axis of YIQ instead of HSV's hexagon.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from sslbolts.transforms.color import LUMA
from sslbolts.transforms.parameters import BRIGHTNESS, CONTRAST, HUE, NOT_JITTERED, SATURATION, order_table

__all__ = ["apply_color_maps", "color_maps"]


def color_maps(order: Tensor, factors: Tensor, grayscale: Tensor) -> tuple[Tensor, Tensor]:
    """The maps ``y = A x + K m`` of colors ``x``, where ``m`` are an image's mean colors.

    Args:
        order: ``(n,)`` row of ``ORDERS`` or ``NOT_JITTERED``.
        factors: ``(n, 4)`` brightness, contrast and saturation factor, hue shift in turns.
        grayscale: ``(n,)`` bool; the luma is taken last.

    Returns:
        A and K, both ``(n, 3, 3)``.
    """
    n, device = len(order), order.device
    eye, gray = _identity_and_luma(device)
    # Each operation as a matrix; contrast also adds (1 - f) times the gray value of the mean colors.
    f = factors[:, :, None, None]
    by_operation = torch.stack(
        (
            f[:, BRIGHTNESS] * eye,
            f[:, CONTRAST] * eye,
            f[:, SATURATION] * eye + (1 - f[:, SATURATION]) * gray,
            _hue_rotations(factors[:, HUE]),
        ),
        1,
    )  # (n, 4, 3, 3)
    jittered = (order != NOT_JITTERED)[:, None]
    operations = order_table(device).index_select(0, order)  # (n, 4)
    a = eye.expand(n, 3, 3)
    k = torch.zeros(n, 3, 3, device=device)
    rows = torch.arange(n, device=device)
    for operation in operations.unbind(1):
        step = torch.where(jittered[..., None], by_operation[rows, operation], eye)
        lost_contrast = torch.where(jittered[:, 0] & (operation == CONTRAST), 1 - factors[:, CONTRAST], 0.0)
        pulled = lost_contrast[:, None, None] * (gray @ (a + k))
        a, k = step @ a, step @ k + pulled
    last = torch.where(grayscale[:, None, None], gray, eye)
    return last @ a, last @ k


def apply_color_maps(images: Tensor, a: Tensor, k: Tensor) -> Tensor:
    """``clamp(A x + K mean(x), 0, 1)``.

    Args:
        images: ``(n, 3, H, W)`` float in [0, 1].
        a, k: ``(n, 3, 3)``.

    Returns:
        ``(n, 3, H, W)``.
    """
    pixels = images.flatten(2)  # (n, 3, H W)
    offset = k @ pixels.mean(2, keepdim=True)
    return torch.baddbmm(offset, a, pixels).clamp_(0, 1).view(images.shape)


def _hue_rotations(turns: Tensor) -> Tensor:
    """``(n,)`` turns to ``(n, 3, 3)`` rotations of RGB about the gray axis, by an angle in the IQ plane."""
    fixed, cosine, sine = _rotation_parts(turns.device)
    angle = (2 * math.pi * turns)[:, None, None]
    return fixed + angle.cos() * cosine + angle.sin() * sine


@lru_cache(maxsize=16)
def _rotation_parts(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A rotation by t is P0 + cos(t) P1 + sin(t) P2; these are the three P for the IQ plane, in RGB."""
    yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
    # Rows of I and Q that sum to zero keep gray pixels exactly where they are; luma sums to .9999.
    yiq[0] /= yiq[0].sum()
    rgb = torch.linalg.inv(yiq)
    parts = torch.zeros(3, 3, 3, dtype=torch.float64)
    # From I to Q is the way from red to magenta; a positive turn goes to yellow, as in HSV.
    parts[0, 0, 0] = parts[1, 1, 1] = parts[1, 2, 2] = parts[2, 1, 2] = 1
    parts[2, 2, 1] = -1
    fixed, cosine, sine = (rgb @ part @ yiq for part in parts)
    return fixed.float().to(device), cosine.float().to(device), sine.float().to(device)


@lru_cache(maxsize=16)
def _identity_and_luma(device: torch.device) -> tuple[Tensor, Tensor]:
    """``(3, 3)`` each: the identity, and the matrix that replaces every color by the luma."""
    return torch.eye(3, device=device), torch.tensor([LUMA] * 3, device=device)
