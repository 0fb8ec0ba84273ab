"""The AlexNets that see one tile of an image: those of relative patch position and of Jigsaw."""

from collections import OrderedDict

from torch import Tensor, nn

__all__ = ["ContextFreeNetwork", "DeepContext", "pair_head", "puzzle_head", "tile_head"]


class DeepContext(nn.Sequential):
    """The network of relative patch position: ``(N, C, 96, 96) -> (N, 4096)``.

    Batch norm, without scale and shift, from conv3 on, local response norm before. Of images of another size, the maps
    of conv5 are averaged to 3x3 before fc6. Weights start uniform up to the root of three by the number of inputs.

    Args:
        in_chans: channels of the images.

    Source: Doersch et al., Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015,
    arXiv:1505.05192.

    Example:
        >>> sum(p.numel() for p in DeepContext().parameters())
        13188480
    """

    num_features = 4096

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Sequential(nn.Conv2d(in_chans, 96, 11, 4, 5), nn.ReLU(inplace=True)),
                pool1=_pool_and_norm(),
                conv2=nn.Sequential(nn.Conv2d(96, 256, 5, 1, 2), nn.ReLU(inplace=True)),
                pool2=_pool_and_norm(),
                conv3=_normalized(nn.Conv2d(256, 384, 3, 1, 1)),
                conv4=_normalized(nn.Conv2d(384, 384, 3, 1, 1)),
                conv5=_normalized(nn.Conv2d(384, 256, 3, 1, 1)),
                pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
                grid=nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()),
                fc6=_normalized(nn.Linear(256 * 3 * 3, 4096)),
            )
        )
        _start_uniform(self)


class ContextFreeNetwork(nn.Sequential):
    """The convolutions of Jigsaw's context-free network: ``(N, C, 64, 64) -> (N, 2304)``.

    Of images of another size, the maps of conv5 are averaged to 3x3.

    Args:
        in_chans: channels of the images.

    Source: Noroozi and Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016,
    arXiv:1603.09246.

    Example:
        >>> sum(p.numel() for p in ContextFreeNetwork().parameters())
        2334080
    """

    num_features = 256 * 3 * 3

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Sequential(nn.Conv2d(in_chans, 96, 11, 2), nn.ReLU(inplace=True)),
                pool1=_pool_and_norm(),
                conv2=nn.Sequential(nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(inplace=True)),
                pool2=_pool_and_norm(),
                conv3=nn.Sequential(nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(inplace=True)),
                conv4=nn.Sequential(nn.Conv2d(384, 384, 3, 1, 1, groups=2), nn.ReLU(inplace=True)),
                conv5=nn.Sequential(nn.Conv2d(384, 256, 3, 1, 1, groups=2), nn.ReLU(inplace=True)),
                pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
                grid=nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()),
            )
        )
        for name, block in self.named_children():
            if name.startswith("conv"):
                _start_normal(block, std=0.01, bias=float(name in ("conv2", "conv4", "conv5")))


def pair_head(width: int, hidden_dim: int, *, original: bool, dropout: float = 0.0) -> nn.Sequential:
    """What tells the eight positions of the second patch from the features of both: ``(N, 2 width) -> (N, 8)``.

    Args:
        width: of the features of one patch.
        hidden_dim: of the hidden layers.
        original: two hidden layers, the first with batch norm without scale and shift, as in Doersch et al.; else one
            with batch norm and dropout, as in Kolesnikov et al. (arXiv:1901.09005).
        dropout: after the hidden layer of the latter.
    """
    if original:
        head = nn.Sequential(
            *_normalized(nn.Linear(2 * width, hidden_dim)),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, 8),
        )
        _start_uniform(head)
        return head
    first = nn.Linear(2 * width, hidden_dim)
    nn.init.trunc_normal_(first.weight, std=0.005, a=-0.01, b=0.01)
    nn.init.constant_(first.bias, 0.1)
    norm = nn.BatchNorm1d(hidden_dim, eps=1e-5, momentum=0.003)
    return nn.Sequential(first, norm, nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(hidden_dim, 8))


def tile_head(width: int, tile_dim: int, *, batch_norm: bool, dropout: float) -> nn.Sequential:
    """What is learned of one tile's features before tiles are put together: ``(N, width) -> (N, tile_dim)``.

    With batch norm it is VISSL's; without, the fc6 of the paper.
    """
    layer = nn.Linear(width, tile_dim)
    if batch_norm:
        return nn.Sequential(layer, nn.BatchNorm1d(tile_dim), nn.ReLU(inplace=True), nn.Dropout(dropout))
    head = nn.Sequential(layer, nn.ReLU(inplace=True), nn.Dropout(dropout))
    _start_normal(head, std=0.005, bias=1.0)
    return head


def puzzle_head(width: int, hidden_dim: int | None, permutations: int, *, dropout: float) -> nn.Sequential:
    """Logits of the permutations from all tiles side by side, ``(B, width) -> (B, permutations)``.

    Args:
        width: of all tiles.
        hidden_dim: of the hidden layer, fc7 in the paper; None is none.
        permutations: their number.
        dropout: after the hidden layer.
    """
    hidden = [] if hidden_dim is None else [nn.Linear(width, hidden_dim), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    head = nn.Sequential(*hidden, nn.Linear(hidden_dim or width, permutations))
    _start_normal(head, std=0.005, bias=1.0)
    _start_normal(head[-1], std=0.01, bias=0.0)
    return head


def _pool_and_norm() -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75))


def _normalized(layer: nn.Conv2d | nn.Linear) -> nn.Sequential:
    norm: nn.Module
    if isinstance(layer, nn.Conv2d):
        norm = nn.BatchNorm2d(layer.out_channels, affine=False)
    else:
        norm = nn.BatchNorm1d(layer.out_features, affine=False)
    return nn.Sequential(layer, norm, nn.ReLU(inplace=True))


def _start_uniform(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = (3 / layer.weight[0].numel()) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            _fill(layer.bias, 0.0)


def _start_normal(network: nn.Module, *, std: float, bias: float) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            _fill(layer.bias, bias)


def _fill(bias: Tensor | None, value: float) -> None:
    if bias is not None:
        nn.init.constant_(bias, value)
