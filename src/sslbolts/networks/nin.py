"""Network in network as RotNet has it for images of 32 pixels."""

from collections.abc import Sequence

from torch import Tensor, nn

from sslbolts.checks import whole
from sslbolts.errors import UsageError

__all__ = ["NIN", "nin_block"]


class NIN(nn.Module):
    """Network in network with batch norm, up to its global mean: ``(B, C, 32, 32) -> (B, 192)``.

    Each block is a convolution and two of 1 x 1 pixels. The first block's map is halved by its maxima, the second's by
    means over the padded map; the others keep 8 x 8 pixels. Weights start as torch has them, as in the official code.

    Blocks are layers by name, ``"block1"`` and so on, pooling included: on images of 32 pixels their maps are
    96 x 16 x 16, and 192 x 8 x 8 of all others.

    Args:
        blocks: how many; the paper's self-supervised ones are of 3, 4 and 5.
        widths: channels of the first block's convolutions.
        width: channels of all other convolutions.
        in_chans: channels of the images.

    Raises:
        UsageError: for a value out of its range.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728; Lin et al., Network In Network, ICLR 2014, arXiv:1312.4400.

    Example:
        >>> import torch
        >>> network = NIN(blocks=4)
        >>> network(torch.zeros(2, 3, 32, 32)).shape, network.num_features
        (torch.Size([2, 192]), 192)
    """

    def __init__(
        self, blocks: int = 4, *, widths: Sequence[int] = (192, 160, 96), width: int = 192, in_chans: int = 3
    ) -> None:
        whole(2, blocks=blocks)
        whole(width=width, in_chans=in_chans)
        if len(widths) != 3:
            raise UsageError(f"widths={tuple(widths)}: the first block has three convolutions; give three numbers.")
        for channels in widths:
            whole(widths=channels)
        super().__init__()
        self.num_features = width
        self.block1 = nin_block(in_chans, widths, 5, pool=nn.MaxPool2d(3, stride=2, padding=1))
        self.block2 = nin_block(widths[-1], (width,) * 3, 5, pool=nn.AvgPool2d(3, stride=2, padding=1))
        for number in range(3, blocks + 1):
            self.add_module(f"block{number}", nin_block(width, (width,) * 3, 3))
        self.feature_info = tuple({"module": name} for name, _ in self.named_children())  # as timm says it

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width)``."""
        for block in self.children():
            x = block(x)
        return x.mean((2, 3))


def nin_block(inputs: int, widths: Sequence[int], size: int, *, pool: nn.Module | None = None) -> nn.Sequential:
    """A convolution of ``size x size`` pixels and one of 1 x 1 for each further width, each with batch norm and ReLU.

    Example:
        >>> sum(p.numel() for p in nin_block(192, (192, 192, 192), 3).parameters())
        406656
    """
    layers: list[nn.Module] = []
    for before, after in zip((inputs, *widths), widths):
        side = 1 if layers else size
        convolution = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *([] if pool is None else [pool]))
