"""Networks small enough that a test of them takes milliseconds."""

from torch import Tensor, nn


class TinyBackbone(nn.Module):
    """Two strided convolutions and a global mean: ``(B, C, H, W) -> (B, 16)``. No batch norm."""

    num_features = 16

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))
