"""AlexNet with batch norm: DeepCluster's, which sees edges instead of colors, and RotNet's."""

import torch
from torch import Tensor, nn

__all__ = ["AlexNet", "AlexNetBN", "Sobel"]


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
        self.features = _convolutions(in_chans, (96, 256, 384, 384, 256))
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


class AlexNetBN(nn.Module):
    """AlexNet as RotNet has it, with batch norm in the hidden layers too: ``(B, C, 224, 224) -> (B, 4096)``.

    It has no dropout, and starts from torch's own weights. The features are the last hidden layer after its ReLU. Maps
    are those of ``"features.2"``, ``"features.6"``, ``"features.10"``, ``"features.13"`` and ``"features.16"``, conv1
    to conv5.

    Args:
        in_chans: channels of the images.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728; Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997.

    Example:
        >>> AlexNetBN().num_features
        4096
    """

    num_features = 4096

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        self.features = _convolutions(in_chans, (64, 192, 384, 256, 256))
        self.classifier = nn.Sequential(*_hidden(256 * 6 * 6, 4096), *_hidden(4096, 4096))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 4096)``, after the ReLU."""
        features: Tensor = self.classifier(self.features(x).flatten(1))
        return features


def _convolutions(inputs: int, widths: tuple[int, int, int, int, int]) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, widths[0], 11, stride=4, padding=2),
        nn.MaxPool2d(3, 2),
        *_convolution(widths[0], widths[1], 5, padding=2),
        nn.MaxPool2d(3, 2),
        *_convolution(widths[1], widths[2], 3, padding=1),
        *_convolution(widths[2], widths[3], 3, padding=1),
        *_convolution(widths[3], widths[4], 3, padding=1),
        nn.MaxPool2d(3, 2),
    )


def _hidden(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
