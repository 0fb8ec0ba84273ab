"""Weights drawn at random and rescaled on images, so that no unit is dead, and all layers learn equally fast."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checks import positive
from sslbolts.errors import UsageError
from sslbolts.networks.modes import eval_mode
from sslbolts.networks.split_batch_norm import BATCH_NORMS

__all__ = ["balance_", "is_normalized", "rescale_"]

_SCALED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (*BATCH_NORMS, nn.GroupNorm, nn.LayerNorm)


@torch.no_grad()
def rescale_(
    network: nn.Module, images: Tensor, *, bias: float = 0.1, generator: torch.Generator | None = None
) -> list[str]:
    r"""Scale every layer, in the order of the forward pass, so that its units have equal statistics on the images.

    With the weights `w_c` of a channel of a convolution or linear layer, and mean `m_c` and (biased) standard deviation
    `s_c` of its output without bias, over images and positions,

    .. math:: w_c \leftarrow w_c / s_c, \qquad b_c \leftarrow -m_c / s_c + \text{bias}

    A layer without a bias gets the scale alone. A batch norm takes mean and variance of its input for its running
    statistics, a scale of 1 and the same bias, so that it does the same in eval mode. Layers that the images do not
    pass, and parameters of other layers, stay as they are. One pass does it: each layer is done when it is reached.

    Args:
        network: changed in place; in eval mode meanwhile.
        images: ``(N, C, H, W)``; all together, the images that statistics are of.
        bias: mean of every unit; its standard deviation is 1.
        generator: on the CPU; draws the weights from a standard normal distribution first. None takes those there are.

    Returns:
        Names of the layers, in the order of the pass.

    Raises:
        UsageError: if a layer's output is constant or not finite.

    Source: Kraehenbuehl et al., Data-dependent Initializations of Convolutional Neural Networks, ICLR 2016,
    arXiv:1511.06856, section 3.1.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
        >>> images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> rescale_(network, images)
        ['0', '3']
        >>> round(network(images).std(correction=0).item(), 4)
        1.0
    """
    done: list[str] = []

    def draw(name: str, layer: Any) -> None:
        if isinstance(layer, _SCALED):
            if generator is not None:
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
            if layer.bias is not None:
                layer.bias.zero_()

    def scale(name: str, layer: Any, args: Any, kwargs: Any, output: Tensor) -> Any:
        done.append(name)
        mean, std = _statistics(output, 1 if not isinstance(layer, nn.Linear) else -1, name)
        layer.weight.div_(std.view(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias.copy_(bias - mean / std)
        return layer.forward(*args, **kwargs)

    def settle(name: str, layer: Any, args: Any) -> None:
        mean, std = _statistics(args[0], 1, name)
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(std.square())
        if layer.weight is not None:
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)

    with eval_mode(network), _first_calls(network, before={_SCALED: draw}, inputs={BATCH_NORMS: settle}, after=scale):
        network(images)
    if not done:
        raise UsageError(f"{type(network).__name__} runs no convolution or linear layer that could be rescaled.")
    return done


def balance_(network: nn.Module, images: Tensor, gradients: Iterable[Tensor], *, tolerance: float = 0.01) -> int:
    r"""Scale the layers of a network without norms further, so that all of them change at the same rate.

    The rate of a layer is :math:`r = \mathrm{rms}(\partial w) / \mathrm{rms}(w)` under random gradients of the output.
    All are brought to their geometric mean, times the mean standard deviation of the output to the power of one over
    the number of layers: from the input upward, biases follow the scale of the layer's input, and then weights and
    biases are multiplied by :math:`\sqrt{r / r^*}`. The units of a layer keep their ratios.

    Args:
        network: changed in place; in eval mode meanwhile.
        images: ``(N, C, H, W)``.
        gradients: of the output, one for each iteration at most; 10 in the official code, standard normal.
        tolerance: it ends when every logarithm of a rate is that near to the wanted one, as a ratio.

    Returns:
        The number of iterations.

    Raises:
        UsageError: if a layer gets no gradient.

    Source: Kraehenbuehl et al., Data-dependent Initializations of Convolutional Neural Networks, ICLR 2016,
    arXiv:1511.06856, section 3.2 and official code.
    """
    positive(tolerance=tolerance)
    iterations = 0
    with eval_mode(network):
        for gradient in gradients:
            rates, sizes, output = _rates(network, images, gradient)
            spread = output.flatten(1).std(0, correction=0).mean()
            wanted = torch.stack(list(rates.values())).log().mean().exp() * spread ** (1 / len(rates))
            if all(abs(rate.log() / wanted.log() - 1) < tolerance for rate in rates.values()):
                break
            iterations += 1

            def follow(
                name: str,
                layer: Any,
                args: Any,
                rates: dict[str, Tensor] = rates,
                sizes: dict[str, Tensor] = sizes,
                wanted: Tensor = wanted,
            ) -> None:
                factor = (rates[name] / wanted).sqrt()
                layer.weight.mul_(factor)
                if layer.bias is not None:
                    layer.bias.mul_(args[0].abs().mean() / sizes[name] * factor)

            with torch.no_grad(), _first_calls(network, inputs={_SCALED: follow}):
                network(images)
    return iterations


def is_normalized(network: nn.Module) -> bool:
    """True for a network with norms, which make the scale of a layer's weights mean nothing, or fix that of its units.

    Example:
        >>> is_normalized(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
        True
    """
    return any(isinstance(layer, _NORMS) for layer in network.modules())


def _rates(network: nn.Module, images: Tensor, gradient: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Of every layer that runs: the rate at which it changes, and the mean size of its input; and the output."""
    sizes: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}

    def note(name: str, layer: Any, args: Any) -> None:
        sizes[name], weights[name] = args[0].detach().abs().mean(), layer.weight

    with torch.enable_grad(), _first_calls(network, inputs={_SCALED: note}):
        required = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
        network.requires_grad_(True)
        try:
            output = network(images)
            found = torch.autograd.grad(output, list(weights.values()), gradient.to(output), allow_unused=True)
        finally:
            for parameter, before in required:
                parameter.requires_grad_(before)
    rates = {}
    for (name, weight), derivative in zip(weights.items(), found):
        if derivative is None or not derivative.any():
            raise UsageError(f'layer "{name}" gets no gradient: a network whose units are dead cannot be balanced.')
        rates[name] = (derivative.square().mean() / weight.detach().square().mean()).sqrt()
    return rates, sizes, output.detach()


def _statistics(x: Tensor, channel: int, name: str) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation of every channel, over all else."""
    rows = x.movedim(channel, -1).flatten(0, -2)
    mean, std = rows.mean(0), rows.std(0, correction=0)
    if not (std > 0).all() or not std.isfinite().all():
        raise UsageError(
            f'layer "{name}" gives values that are constant or not finite on these images: nothing can be rescaled to '
            "a standard deviation of 1. Give other images."
        )
    return mean, std


@contextmanager
def _first_calls(
    network: nn.Module,
    *,
    before: dict[Any, Callable[[str, Any], None]] | None = None,
    inputs: dict[Any, Callable[[str, Any, Any], None]] | None = None,
    after: Callable[[str, Any, Any, Any, Tensor], Any] | None = None,
) -> Iterator[None]:
    """Functions that are called at the first call of layers: before it, with its input, and after it with its output.

    What ``after`` returns is the layer's output.
    """
    seen: set[tuple[str, str]] = set()
    handles = []

    def first(name: str, when: str) -> bool:
        return (name, when) not in seen and not seen.add((name, when))  # type: ignore[func-returns-value]

    for name, layer in network.named_modules():
        for kinds, act in (before or {}).items():
            if isinstance(layer, kinds):
                handles.append(
                    layer.register_forward_pre_hook(
                        lambda layer, _, name=name, act=act: act(name, layer) if first(name, "before") else None
                    )
                )
        for kinds, take in (inputs or {}).items():
            if isinstance(layer, kinds):
                handles.append(
                    layer.register_forward_pre_hook(
                        lambda layer, args, name=name, take=take: (
                            take(name, layer, args) if first(name, "inputs") else None
                        )
                    )
                )
        if after is not None and isinstance(layer, _SCALED):
            handles.append(
                layer.register_forward_hook(
                    lambda layer, args, kwargs, out, name=name: (
                        after(name, layer, args, kwargs, out) if first(name, "after") else None
                    ),
                    with_kwargs=True,
                )
            )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
