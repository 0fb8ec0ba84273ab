"""The AlexNet of colorization: convolutional to its last layer, at an eighth of the image's resolution."""

from torch import Tensor, nn

from sslbolts.checks import whole
from sslbolts.errors import UsageError

__all__ = ["DilatedAlexNet"]


class DilatedAlexNet(nn.Module):
    """AlexNet with batch norm, of which all layers are convolutions: ``(B, C, H, W) -> (B, 4096)``, the mean of maps.

    The third pooling has stride 1 and the sixth layer is dilated, so that the maps of the last layer have the
    resolution of the third: 12x12 of an image of 180 pixels. Batch norms have neither scale nor shift. Weights start as
    He et al. have them; the published networks start from clustered patches, which that makes unnecessary.

    Args:
        in_chans: channels of the images.
        width: channels of the first layer, of which the others are multiples; half of 96 for each side of a split-brain
            autoencoder.
        groups: of the second, fourth and fifth layer: 2 in the network of colorization.

    Raises:
        UsageError: for a width that cannot be divided.

    Source: Zhang et al., Colorful Image Colorization, ECCV 2016, arXiv:1603.08511: the network whose features are
    evaluated.

    Example:
        >>> import torch
        >>> network = DilatedAlexNet(1, width=12)
        >>> network.num_features, network(torch.zeros(2, 1, 64, 64)).shape
        (512, torch.Size([2, 512]))
    """

    def __init__(self, in_chans: int = 1, *, width: int = 96, groups: int = 2) -> None:
        super().__init__()
        whole(in_chans=in_chans, width=width, groups=groups)
        if width % 12 or width % groups:
            raise UsageError(f"width={width}: it must be a multiple of 12, and of groups={groups}.")
        second, third, last = width * 8 // 3, width * 4, width * 128 // 3
        self.num_features = last
        self.feature_info = tuple({"module": name} for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "conv7"))
        self.conv1 = _layer(in_chans, width, 11, stride=4, padding=5)
        self.pool1 = nn.MaxPool2d(3, 2, padding=1)
        self.conv2 = _layer(width, second, 5, padding=2, groups=groups)
        self.pool2 = nn.MaxPool2d(3, 2, padding=1)
        self.conv3 = _layer(second, third, 3, padding=1)
        self.conv4 = _layer(third, third, 3, padding=1, groups=groups)
        self.conv5 = _layer(third, second, 3, padding=1, groups=groups)
        self.pool5 = nn.MaxPool2d(3, 1, padding=1)
        self.conv6 = _layer(second, last, 6, padding=5, dilation=2)
        self.conv7 = _layer(last, last, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The mean over the last layer's maps."""
        x = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        x = self.pool5(self.conv5(self.conv4(self.conv3(x))))
        maps: Tensor = self.conv7(self.conv6(x))  # (B, num_features, h, w)
        return maps.mean((2, 3))


def _layer(inputs: int, outputs: int, size: int, **options: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, **options)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, affine=False), nn.ReLU(inplace=True))
