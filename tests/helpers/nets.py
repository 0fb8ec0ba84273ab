"""Networks small enough that a test of them takes milliseconds."""

from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class TinyBackbone(nn.Module):
    """Two strided convolutions and a global mean: ``(B, C, H, W) -> (B, 16)``. No batch norm."""

    num_features = 16

    def __init__(self, in_chans: int = 3, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.layers(x).mean((2, 3)))


class WithBatchNorm(nn.Module):
    """A convolution, a batch norm and a global mean: ``(B, 3, H, W) -> (B, 8)``."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


class _Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and width == out
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(width, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.main(x) + self.shortcut(x)).relu()


class SmallResNet(nn.Module):
    """Three residual blocks from 16 pixels down to 4: ``(B, 3, 32, 32) -> (B, 128)``, half a second for 5,000 images."""

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.layers = nn.Sequential(*stem, _Block(32, 32, 1), _Block(32, 64, 2), _Block(64, 128, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def without_batch_norm(network: Network) -> Network:
    """The network with a norm over each sample's own channels where it had batch norms, which tie a batch together."""
    for name, child in network.named_children():
        norm: nn.Module
        if isinstance(child, nn.BatchNorm1d):
            norm = nn.LayerNorm(child.num_features, elementwise_affine=child.affine)
        elif isinstance(child, nn.BatchNorm2d):
            norm = nn.GroupNorm(1, child.num_features, affine=child.affine)
        else:
            without_batch_norm(child)
            continue
        for ours, theirs in zip(norm.parameters(), child.parameters(), strict=True):
            ours.requires_grad_(theirs.requires_grad)  # a teacher's are frozen
        setattr(network, name, norm)
    return network
