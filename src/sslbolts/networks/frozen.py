"""A call of a network that trains its inputs alone."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["frozen_call"]


def frozen_call(network: nn.Module, *inputs: Tensor) -> Any:
    """``network(*inputs)``, of which gradients reach the inputs, not the parameters; its buffers stay as they are.

    So one loss can hold what a discriminator learns and what it teaches: batch norms normalize by the batch at hand, as
    in training, and their running statistics do not count it twice.

    Args:
        network: any module.
        inputs: its arguments.

    Example:
        >>> network, x = nn.Linear(2, 1), torch.ones(3, 2, requires_grad=True)
        >>> frozen_call(network, x).sum().backward()
        >>> network.weight.grad is None, torch.equal(x.grad, network.weight.detach().expand(3, 2))
        (True, True)
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return torch.func.functional_call(network, parameters | buffers, inputs)
