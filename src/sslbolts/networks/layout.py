"""The axis of a layer's output that its channels are on."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm

from sslbolts.errors import UsageError

__all__ = ["channel_axis"]

_CHANNELS_FIRST: dict[int, tuple[type[nn.Module], ...]] = {
    3: (nn.Conv1d, nn.ConvTranspose1d),
    4: (
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.BatchNorm2d,
        SyncBatchNorm,
        nn.GroupNorm,
        nn.InstanceNorm2d,
        nn.AvgPool2d,
        nn.MaxPool2d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool2d,
    ),
}
_OTHER_NORMS = ("batch", "group", "instance")
_WIDTHS = ("out_channels", "num_features", "num_channels", "out_features", "normalized_shape")


def channel_axis(output: Tensor, name: str, layer: nn.Module, network: nn.Module) -> int:
    """The axis of the channels, of maps in either layout, of rows and of tokens.

    It is 1 of ``(B, C, H, W)`` and ``(B, C, L)``, and the last of ``(B, H, W, C)`` and ``(B, T, C)``.

    Convolutions and their norms have channels first, linear layers and layer norms last. Where a layer has both, the
    one size counts that is a width of one of them, and height and width, which are mostly equal. A layer that has
    neither is judged by the smallest part of the network around it that has.

    Args:
        output: of the layer, with three or four dimensions.
        name: of the layer, for the message.
        layer: any module.
        network: it, or what it is part of.

    Raises:
        UsageError: if it cannot be told.

    Example:
        >>> import torch
        >>> layer = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16))
        >>> channel_axis(torch.zeros(2, 7, 7, 16), "0", layer, layer)
        3
    """
    last = output.ndim - 1
    for part in _around(layer, network):
        first_widths, last_widths = _widths(part, output.ndim)
        if first_widths or last_widths:
            break
    else:
        return 1 if output.ndim == 4 else last
    second, middle, end = output.shape[1], output.shape[-2], output.shape[-1]
    widths = first_widths | last_widths
    of_width = {1: second in widths, last: end in widths}
    of_square = {1: middle == end, last: middle == second} if output.ndim == 4 else {}
    votes = {axis for said in (of_width, of_square) for axis in said if said[axis] and sum(said.values()) == 1}
    if not last_widths:  # a convolution whose maps are permuted afterwards, as of a patch embedding
        return last if votes == {last} and of_width[last] else 1
    if not first_widths and (output.ndim == 3 or not votes):
        return last
    if len(votes) == 1:
        return votes.pop()
    raise UsageError(
        f'the output of "{name}" has shape {tuple(output.shape)}, and which of its axes are channels cannot be told: '
        "take another layer, or pool it yourself, in a callable."
    )


def _around(layer: nn.Module, network: nn.Module) -> Iterator[nn.Module]:
    """The layer, what it is part of, what that is part of, and so on."""
    yield layer
    path = next((path for path, module in network.named_modules() if module is layer), "")
    while path:
        path = path.rpartition(".")[0]
        yield network.get_submodule(path)


def _widths(part: nn.Module, ndim: int) -> tuple[set[int], set[int]]:
    """Widths of the layers of a part that have channels first, and of those that have them last; -1 of unknown."""
    first, last = set(), set()
    for module in part.modules():
        kind = type(module).__name__.lower()
        norm = "norm" in kind and not next(module.children(), None)
        shape = getattr(module, "normalized_shape", ())
        spatial = norm and (
            kind.endswith("2d") or getattr(module, "data_format", "") == "channels_first" or len(shape) > 1
        )
        if isinstance(module, _CHANNELS_FIRST[ndim]) or (ndim == 4 and spatial):
            first.add(_width(module))
        elif isinstance(module, nn.Linear) or (norm and not spatial and not any(map(kind.count, _OTHER_NORMS))):
            last.add(_width(module))
    return first, last


def _width(module: nn.Module) -> int:
    found = next((getattr(module, name) for name in _WIDTHS if hasattr(module, name)), None)
    if isinstance(found, tuple | list) and found:
        found = found[0]
    if isinstance(found, int):
        return found
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, Tensor) and weight.ndim else -1
