"""The network of DeepCluster: AlexNet with batch norm, on edges instead of colors."""

import torch
from torch import Tensor, nn

__all__ = ["AlexNet", "Sobel"]


class Sobel(nn.Module):
    """Edges of images, and nothing of their colors: the mean of the channels, then its two fixed Sobel filters.

    Example:
        >>> Sobel()(torch.ones(1, 3, 8, 8))[..., 1:-1, 1:-1].abs().sum().item()  # nothing in a uniform image
        0.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.grayscale = nn.Conv2d(3, 1, 1)
        self.edges = nn.Conv2d(1, 2, 3, padding=1)
        across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        with torch.no_grad():
            self.grayscale.weight.fill_(1 / 3)
            self.edges.weight.copy_(torch.stack([across, across.T])[:, None])
            for layer in (self.grayscale, self.edges):
                assert layer.bias is not None
                layer.bias.zero_()
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 2, H, W)`` of images ``(B, 3, H, W)``."""
        edges: Tensor = self.edges(self.grayscale(x))
        return edges


class AlexNet(nn.Module):
    """AlexNet with batch norm, up to the last hidden layer before its ReLU: ``(B, C, 224, 224) -> (B, 4096)``.

    It starts as in the official code of DeepCluster: kernels of `k x k` pixels from `N(0, 2 / (k k out_channels))`,
    linear layers from `N(0, 0.01 squared)`, all biases at 0.

    Args:
        in_chans: channels of the images; 2 behind :class:`Sobel`.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS 2012, as in
    Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520.

    Example:
        >>> AlexNet().num_features
        4096
    """

    num_features = 4096

    def __init__(self, in_chans: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(in_chans, 96, 11, stride=4, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(96, 256, 5, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(256, 384, 3, padding=1),
            *_convolution(384, 384, 3, padding=1),
            *_convolution(384, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 4096)``, before the ReLU."""
        features: Tensor = self.classifier(self.features(x).flatten(1))
        return features


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
