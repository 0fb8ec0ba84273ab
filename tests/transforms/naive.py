"""A view made by torchvision's functional operations, one float image at a time, with parameters drawn by us."""

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from sslbolts.transforms import View
from sslbolts.transforms.extras import ExtraParameters
from sslbolts.transforms.parameters import NOT_JITTERED, ORDERS, ViewParameters

ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


def naive_view(image: Tensor, draws: ViewParameters, row: int, view: View) -> Tensor:
    """``(3, H, W)`` uint8 to ``(3, size, size)`` float in [0, 1]."""
    x = image.float() / 255
    if view.color_first:
        x = _colored(x, draws, row)
    if draws.box is not None:
        box = [int(value) for value in draws.box[row]]
        mode = InterpolationMode(view.interpolation)
        # Bicubic overshoots; images are made of values from 0 to 1.
        x = TF.resized_crop(x, *box, [view.size, view.size], interpolation=mode, antialias=True).clamp(0, 1)
    if draws.flip[row]:
        x = TF.horizontal_flip(x)
    if draws.extras is not None:
        x = _turned(x, draws.extras, row)
    if not view.color_first:
        x = _colored(x, draws, row)
    if draws.blur[row]:
        x = TF.gaussian_blur(x, [view.kernel, view.kernel], [float(draws.sigma[row])] * 2)
    if draws.solarize[row]:
        x = TF.solarize(x, view.solarize_threshold / 255)
    if draws.extras is not None:
        if draws.extras.noise is not None:
            x = (x + draws.extras.noise[row]).clamp(0, 1)
        top, left, height, width = (int(value) for value in draws.extras.hole[row])
        x = TF.erase(x, top, left, height, width, torch.zeros(len(x), height, width))
    return x


def _turned(x: Tensor, extras: ExtraParameters, row: int) -> Tensor:
    if extras.vertical_flip[row]:
        x = TF.vertical_flip(x)
    for _ in range(int(extras.quarters[row])):
        x = TF.rotate(x, 90)
    return TF.rotate(x, float(extras.angle[row]), interpolation=InterpolationMode.BILINEAR)


def _colored(x: Tensor, draws: ViewParameters, row: int) -> Tensor:
    if draws.order[row] != NOT_JITTERED:
        for operation in ORDERS[int(draws.order[row])]:
            x = ADJUST[operation](x, float(draws.factors[row, operation]))
    return TF.rgb_to_grayscale(x, num_output_channels=3) if draws.grayscale[row] else x


def naive_batch(images: Tensor, draws: ViewParameters, view: View) -> Tensor:
    return torch.stack([naive_view(image, draws, row, view) for row, image in enumerate(images)])


def levels(a: Tensor, b: Tensor) -> float:
    """The greatest difference of two images of values from 0 to 1, in levels of 255."""
    return float((a - b).abs().max()) * 255
