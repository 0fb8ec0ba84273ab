"""Learning rates that fall from the head down to the first layer."""

import re
from collections.abc import Collection
from typing import Any

from torch import nn

from sslbolts.errors import UsageError

__all__ = ["layer_groups", "layer_numbers"]

_BLOCKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"layer(\d+)\.",  # stages of a ResNet
        r"blocks\.(\d+)\.",  # blocks of timm's vision transformers
        r"encoder\.layers\.encoder_layer_(\d+)\.",  # and of torchvision's
        r"stages\.(\d+)\.",  # ConvNeXt and others
        r"layers\.(\d+)\.",  # Swin and plain stacks
        r"features\.(\d+)\.",
    )
)


def layer_numbers(network: nn.Module) -> tuple[dict[str, int], int]:
    """Number of the layer that each parameter belongs to: 0 before the first block, then 1, 2, ..., and one more after.

    Blocks are the stages of a ResNet (``layer1`` to ``layer4``), the blocks of a vision transformer, or the stages of
    other networks. What follows the last block (a final norm) counts with the head.

    Args:
        network: a backbone without its classifier.

    Returns:
        Number of each parameter by its name, and the number of the head.

    Raises:
        UsageError: if no blocks are found by their names.

    Source: BEiT's official code, whose numbering MAE's shares.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> numbers, head = layer_numbers(create_backbone("resnet18"))
        >>> numbers["conv1.weight"], numbers["layer1.0.conv1.weight"], numbers["layer4.1.bn2.bias"], head
        (0, 1, 4, 5)
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in _BLOCKS:
        found = {name: int(match[1]) for name in names if (match := pattern.match(name))}
        order = {block: number for number, block in enumerate(sorted(set(found.values())), start=1)}
        if len(order) > 1:
            break
    else:
        raise UsageError(
            f"the blocks of {type(network).__name__} are not known by the names of its parameters, so its learning "
            "rates cannot fall from block to block: give layer_decay=1."
        )
    numbers: dict[str, int] = {}
    seen = False
    for name in names:
        seen = seen or name in found
        numbers[name] = order[found[name]] if name in found else (len(order) + 1 if seen else 0)
    return numbers, len(order) + 1


def layer_groups(
    backbone: nn.Module,
    head: nn.Module,
    *,
    layer_decay: float,
    weight_decay: float,
    lr: float = 1.0,
    head_lr: float | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups in which a layer's learning rate is ``layer_decay`` times that of the layer above it.

    Layer ``i`` of ``L`` has ``lr * layer_decay ** (L - i)``, and the head, layer ``L``, has ``head_lr``. Parameters of
    one dimension, and those that a network of timm names in ``no_weight_decay()`` (position embeddings, class tokens),
    are not decayed.

    Args:
        backbone: without its classifier.
        head: what stands on it.
        layer_decay: in (0, 1]; with 1 the blocks need not be known.
        weight_decay: of all other parameters.
        lr: of layer ``L``.
        head_lr: of the head; None is ``lr``.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``lr``, from the first layer to the head.

    Source: Bao et al., BEiT: BERT Pre-Training of Image Transformers, ICLR 2022, arXiv:2106.08254; Clark et al.,
    ELECTRA, ICLR 2020, arXiv:2003.10555.

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> groups = layer_groups(create_backbone("resnet18"), nn.Linear(512, 10), layer_decay=0.5, weight_decay=0.1)
        >>> sorted({group["lr"] for group in groups})
        [0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0]
    """
    numbers, top = layer_numbers(backbone) if layer_decay != 1 else ({}, 0)
    exempt: Collection[str] = getattr(backbone, "no_weight_decay", set)()
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            rate = lr * layer_decay ** (top - numbers.get(name, top))
            decay = 0.0 if parameter.dim() <= 1 or name in exempt else weight_decay
            _add(groups, parameter, rate, decay)
    for parameter in head.parameters():
        rate = lr if head_lr is None else head_lr
        _add(groups, parameter, rate, 0.0 if parameter.dim() <= 1 else weight_decay)
    return list(groups.values())


def _add(groups: dict[tuple[float, float], dict[str, Any]], parameter: nn.Parameter, lr: float, decay: float) -> None:
    group = groups.setdefault((lr, decay), {"params": [], "weight_decay": decay, "lr": lr})
    group["params"].append(parameter)
