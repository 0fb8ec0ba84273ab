"""AMDIM's network: a residual network without padding, so that no feature tells where in the image it is."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["AMDIMEncoder"]

_SIZES = (32, 64, 128)


class AMDIMEncoder(nn.Module):
    """Features of three scales: one vector of the image, and maps of 5x5 and 7x7 locations, all of one width.

    No convolution pads (but the first of the form for 128 pixels, which reflects): padding would tell a location
    where it is, and view-independent features could cheat. Maps come from the layers that have 5x5 and 7x7
    locations, through a small residual head each; the vector is the last layer's, with batch norm. The second
    convolution of each residual branch is zero at first.

    Args:
        image_size: side of the images, pixels: 32, 64 or 128.
        in_chans: channels of the images.
        width: channels of the first layer; they double with every halving of the resolution.
        n_rkhs: width of the features.
        depth: residual units per stage.
        batch_norm: normalize inside, too; the paper does not.

    Raises:
        UsageError: for another size.

    Source: Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019,
    arXiv:1906.00910, section 4; layer by layer as in the official code.

    Example:
        >>> encoder = AMDIMEncoder(32, width=4, n_rkhs=16, depth=1)
        >>> images = torch.rand(2, 3, 32, 32)
        >>> maps = []
        >>> encoder(images, maps).shape, [tuple(features.shape) for features in maps]
        (torch.Size([2, 16]), [(2, 16, 5, 5), (2, 16, 7, 7)])
    """

    def __init__(
        self,
        image_size: int = 128,
        *,
        in_chans: int = 3,
        width: int = 128,
        n_rkhs: int = 1024,
        depth: int = 3,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if image_size not in _SIZES:
            raise UsageError(f"image_size={image_size}: AMDIM's network has forms for 32, 64 and 128 pixels.")
        self.image_size = image_size
        self.num_features = n_rkhs

        def stage(width: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
            units = [_Residual(width, out, kernel, stride, batch_norm=batch_norm)]
            units += [_Residual(out, out, batch_norm=batch_norm) for _ in range(depth - 1)]
            return nn.Sequential(*units)

        def norm(width: int) -> nn.Module:
            return nn.BatchNorm2d(width) if batch_norm else nn.Identity()

        if image_size == 32:
            top = 4 * width
            stem = [_convolution(in_chans, width, 3), _Residual(width, width, batch_norm=batch_norm)]
            stages = [stage(width, 2 * width, 4, 2), stage(2 * width, top, 2, 2)]
        else:
            top = 8 * width
            stem = [_convolution(in_chans, width, 3)]
            if image_size == 128:
                reflected = nn.Conv2d(in_chans, width, 5, stride=2, padding=2, padding_mode="reflect")
                stem = [nn.Sequential(reflected, nn.ReLU(inplace=True)), _convolution(width, width, 3)]
            stages = [stage(width, 2 * width, 4, 2), stage(2 * width, 4 * width, 4, 2), stage(4 * width, top, 2, 2)]
        self.to_7 = nn.Sequential(*stem, *stages, norm(top))
        self.to_5 = stage(top, top, 3)
        self.to_1 = nn.Sequential(
            stage(top, top, 3), _Residual(top, n_rkhs, 3, batch_norm=batch_norm), nn.BatchNorm2d(n_rkhs)
        )
        self.head_7 = _Head(top, n_rkhs, batch_norm=batch_norm)
        self.head_5 = _Head(top, n_rkhs, batch_norm=batch_norm)

    def forward(self, x: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """Features of the image.

        Args:
            x: images ``(B, in_chans, image_size, image_size)``.
            maps: a list to which the maps ``(B, n_rkhs, 5, 5)`` and ``(B, n_rkhs, 7, 7)`` are appended.

        Returns:
            ``(B, n_rkhs)``.
        """
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"AMDIM's network for {self.image_size} pixels got images of {x.shape[-2]}x{x.shape[-1]}: give both "
                "the same image_size (32, 64 or 128)."
            )
        h7 = self.to_7(x)
        h5 = self.to_5(h7)
        if maps is not None:
            maps += [self.head_5(h5), self.head_7(h7)]
        features: Tensor = self.to_1(h5).flatten(1)
        return features


def _convolution(width: int, out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, out, kernel), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """``kernel`` convolution, ReLU, 1x1 convolution; beside them the mean over the kernel, new channels zero."""

    def __init__(self, width: int, out: int, kernel: int = 1, stride: int = 1, *, batch_norm: bool = False) -> None:
        super().__init__()
        if out < width:
            raise UsageError(f"a residual unit cannot narrow from {width} to {out} channels: give a larger n_rkhs.")
        self.kernel, self.stride, self.grown = kernel, stride, out - width
        first, last = nn.Conv2d(width, out, kernel, stride, bias=False), nn.Conv2d(out, out, 1, bias=False)
        nn.init.kaiming_uniform_(first.weight, a=math.sqrt(5))
        nn.init.zeros_(last.weight)
        norm = nn.BatchNorm2d(out) if batch_norm else nn.Identity()
        self.branch = nn.Sequential(first, norm, nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.kernel == 1 else F.avg_pool2d(x, self.kernel, self.stride)
        if self.grown:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.grown))
        out: Tensor = self.branch(x) + shortcut
        return out


class _Head(nn.Module):
    """1x1 convolution, ReLU, 1x1 convolution, beside a linear map that begins near the identity; then batch norm."""

    def __init__(self, width: int, out: int, *, batch_norm: bool = False) -> None:
        super().__init__()
        last = nn.Conv2d(out, out, 1, bias=False)
        nn.init.zeros_(last.weight)
        norm = nn.BatchNorm2d(out) if batch_norm else nn.Identity()
        self.branch = nn.Sequential(nn.Conv2d(width, out, 1, bias=False), norm, nn.ReLU(inplace=True), last)
        self.shortcut = nn.Conv2d(width, out, 1)
        if out >= width:
            nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)
            with torch.no_grad():
                self.shortcut.weight[:width, :, 0, 0].fill_diagonal_(1.0)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.branch(x) + self.shortcut(x))
        return out
