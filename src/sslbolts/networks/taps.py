"""Layers inside a network: found by name, listened to, and pooled."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.networks.layout import channel_axis
from sslbolts.networks.modes import eval_mode
from sslbolts.networks.widths import blank_images

__all__ = [
    "Tap",
    "block_names",
    "feature_maps",
    "find_layer",
    "last_stages",
    "layer_outputs",
    "map_shapes",
    "map_widths",
    "maps_of",
    "pooled",
]

_NAMES_SHOWN = 20


def find_layer(network: nn.Module, name: str, *, advice: str = "") -> nn.Module:
    """The submodule of a name.

    Args:
        network: any module.
        name: as ``named_modules`` gives it, with or without ``backbone.`` at its beginning.
        advice: end of the message about a wrong name: what to do.

    Raises:
        UsageError: if there is none.

    Example:
        >>> network = nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(2, 3), nn.ReLU())})
        >>> find_layer(network, "backbone.1"), find_layer(network, "1")
        (ReLU(), ReLU())
    """
    for path in (name, f"backbone.{name}") if name else ():
        try:
            return network.get_submodule(path)
        except AttributeError:
            continue
    names = sorted((known for known, _ in network.named_modules() if known), key=lambda known: known.count("."))
    hint = did_you_mean(name, [*names, *(known.removeprefix("backbone.") for known in names)])
    shown = ", ".join(names[:_NAMES_SHOWN] + ["..."] * (len(names) > _NAMES_SHOWN)) or "none"
    raise UsageError(f'{type(network).__name__} has no layer "{name}".{hint} There are: {shown}. {advice}'.rstrip())


class Tap:
    """The outputs of a layer, recorded by a forward hook until the tap is closed.

    Copies and pickles that are made of the layer meanwhile record nothing, and need nothing of this package.

    Args:
        layer: any module, see :func:`find_layer`.
        detach: record outputs without their gradients.
        recording: whether calls are recorded from the beginning.

    Attributes:
        layer: the module.
        outputs: what it gave, in order of its calls.
        sizes: size of an image (or row) of the input of each call, by place or by name: of the first of those tensors
            that have most dimensions; None where the input has none.
        recording: whether calls are recorded.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with Tap(network[0]) as tap:
        ...     _ = network(torch.ones(4, 2))
        >>> [tuple(output.shape) for output in tap.outputs]
        [(4, 3)]
    """

    def __init__(self, layer: nn.Module, *, detach: bool = False, recording: bool = True) -> None:
        self.layer = layer
        self.detach = detach
        self.outputs: list[Any] = []
        self.sizes: list[torch.Size | None] = []
        self.recording = recording
        self._handle = layer.register_forward_hook(_Hook(self), with_kwargs=True)

    def start(self) -> None:
        """Forget what was recorded, and record from now on."""
        self.outputs, self.sizes, self.recording = [], [], True

    def record(self, inputs: Any, output: Any) -> None:
        """Keep the output of a call, if calls are recorded."""
        if self.recording:
            first = max(_tensors(inputs), key=lambda tensor: tensor.ndim, default=None)
            self.sizes.append(None if first is None else first.shape[1:])
            self.outputs.append(output.detach() if self.detach and isinstance(output, Tensor) else output)

    def close(self) -> None:
        """Take the hook away."""
        self._handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Hook:
    """A tap as the layer knows it."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    @torch.compiler.disable
    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.tap.record((args, kwargs), output)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # takes anything, does nothing, and is in every Python


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    if isinstance(inputs, Mapping):
        inputs = inputs.values()
    elif not isinstance(inputs, list | tuple):
        return []
    return [tensor for part in inputs for tensor in _tensors(part)]


def layer_outputs(network: nn.Module, layers: Sequence[nn.Module], images: Tensor) -> list[list[Any]]:
    """Outputs of some layers in one forward pass of a network: for each layer, those of all its calls.

    A compiled network runs as it was before: what was compiled without a tap does not call it.

    Args:
        network: called on ``images``.
        layers: parts of it.
        images: ``(B, C, H, W)``.
    """
    taps = [Tap(layer) for layer in layers]
    try:
        with nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance("force_eager"):
            network(images)
    finally:
        for tap in taps:
            tap.close()
    return [tap.outputs for tap in taps]


def pooled(
    output: Any,
    name: str,
    *,
    layer: nn.Module | None = None,
    network: nn.Module | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A layer's output as ``(B, D)``: maps and tokens are averaged, of a tuple the first.

    Args:
        output: ``(B, D)``, tokens ``(B, T, D)``, maps ``(B, D, H, W)``, or a tuple that begins with one of them. Also
            ``(B, D, L)`` and ``(B, H, W, D)``, where the layer tells so, see
            :func:`~sslbolts.networks.layout.channel_axis`.
        name: of the layer, for the message.
        layer: the layer; None has tokens and maps ``(B, D, H, W)``.
        network: what the layer is part of; None is itself.
        dtype: of the average; None is the output's own.

    Raises:
        UsageError: for anything else, or where it cannot be told which axis is `D`.

    Example:
        >>> pooled(torch.ones(2, 5, 7, 7), "layer4").shape
        torch.Size([2, 5])
    """
    first = output[0] if isinstance(output, tuple | list) and output else output
    if isinstance(first, Tensor) and first.ndim in (2, 3, 4):
        rows = first if dtype is None else first.to(dtype)
        if rows.ndim == 2:
            return rows
        axis = {3: 2, 4: 1}[rows.ndim] if layer is None else channel_axis(rows, name, layer, network or layer)
        return rows.mean([other for other in range(1, rows.ndim) if other != axis])
    raise UsageError(
        f'the output of "{name}" has {_form(output)}; features are (B, D), tokens (B, T, D) or maps (B, D, H, W): '
        "take another layer, or pool it yourself."
    )


def maps_of(output: Any, name: str, layer: nn.Module, network: nn.Module) -> Tensor:
    """A layer's output as maps ``(B, C, H, W)``, which some layers give as ``(B, H, W, C)``.

    Args:
        output: what the layer gave.
        name: of the layer, for the message.
        layer: the layer.
        network: what it is part of.

    Raises:
        UsageError: if it is no map, or it cannot be told which axis the channels are on.
    """
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise UsageError(
            f'layer "{name}" of {type(network).__name__} gives {"nothing" if output is None else _form(output)}, not '
            "maps (B, C, H, W): name a layer before the pooling."
        )
    return output.movedim(channel_axis(output, name, layer, network), 1)


def feature_maps(network: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """Maps that some of a network's layers give, from one forward pass; of a layer that runs several times, the last.

    Args:
        network: any module.
        layers: names of submodules, e.g. ``"layer3"`` of a ResNet, see :func:`find_layer`.
        images: ``(B, C, H, W)``.

    Returns:
        One ``(B, C_l, H_l, W_l)`` per layer; gradients pass.

    Raises:
        UsageError: for a layer that is not there, that the network does not run, or whose output is no map.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        >>> [tuple(m.shape) for m in feature_maps(network, ["0", "1"], torch.zeros(2, 3, 8, 8))]
        [(2, 8, 4, 4), (2, 8, 4, 4)]
    """
    found = [find_layer(network, name) for name in layers]
    outputs = layer_outputs(network, found, images)
    return [
        maps_of(calls[-1] if calls else None, name, layer, network)
        for name, layer, calls in zip(layers, found, outputs)
    ]


def map_shapes(network: nn.Module, layers: Sequence[str], in_chans: int = 3) -> list[torch.Size]:
    """Shapes ``(1, C, h, w)`` of some layers' maps of an image of 64 pixels, without disturbing batch-norm statistics.

    Args:
        network: any module.
        layers: names of submodules.
        in_chans: channels of the images.

    Example:
        >>> map_shapes(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), ["1"])
        [torch.Size([1, 8, 62, 62])]
    """
    with torch.no_grad(), eval_mode(network):
        return [maps.shape for maps in feature_maps(network, layers, blank_images(network, in_chans))]


def map_widths(network: nn.Module, layers: Sequence[str], in_chans: int = 3) -> list[int]:
    """Numbers of channels of some layers' maps, as of :func:`map_shapes`.

    Args:
        network: any module.
        layers: names of submodules.
        in_chans: channels of the images.

    Example:
        >>> map_widths(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), ["1"])
        [8]
    """
    return [shape[1] for shape in map_shapes(network, layers, in_chans)]


def block_names(network: nn.Module) -> list[str]:
    """The blocks of a network, from the images on: conv1 to conv5 of the field's tables.

    Of a ResNet the activation of the stem and the four stages; of timm's other networks what their ``feature_info``
    lists (all blocks of a vision transformer); of AlexNet and VGG the activations of all convolutions.

    Raises:
        UsageError: for a network whose blocks are not known.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> block_names(create_backbone("torchvision/resnet18"))
        ['relu', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    stages = _stages(network)
    if not stages:
        relus = [name for name, module in network.named_modules() if isinstance(module, nn.ReLU)]
        stages = [name for name in relus if name.startswith("features")]
    return stages or _unknown("blocks", network)


def last_stages(network: nn.Module, count: int = 2) -> list[str]:
    """Names of a network's last stages: those that timm lists in ``feature_info``, or ``layer3`` and ``layer4``.

    Args:
        network: a network of timm, a ResNet of torchvision, or any module with ``feature_info``, a sequence of
            ``{"module": name, ...}``.
        count: how many.

    Raises:
        UsageError: if the network has neither.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> last_stages(create_backbone("timm/resnet18")), last_stages(create_backbone("torchvision/resnet18"), 1)
        (['layer3', 'layer4'], ['layer4'])
    """
    stages = [name for name in _stages(network) if name != "relu"]
    return stages[-count:] if len(stages) >= count else _unknown("stages", network)


def _stages(network: nn.Module) -> list[str]:
    """Names in timm's ``feature_info``, or of the stem's activation and the stages of a ResNet; else none."""
    info: Any = getattr(network, "feature_info", None)
    if info is not None:
        return [stage["module"] for stage in (info.info if hasattr(info, "info") else info)]
    stages = [name for name in ("layer1", "layer2", "layer3", "layer4") if hasattr(network, name)]
    return ["relu", *stages] if stages and hasattr(network, "relu") else stages


def _unknown(parts: str, network: nn.Module) -> NoReturn:
    raise UsageError(
        f"the {parts} of {type(network).__name__} are not known: name the layers, as its named_modules() gives them."
    )


def _form(output: Any) -> str:
    return f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"type {type(output).__name__}"
