"""A network in eval mode for a while."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["eval_mode"]


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """The network in eval mode; afterwards all its modules are in the modes that they were in.

    Modules change through their own ``train()`` and ``eval()``, since some do work there, such as LoRA, which merges
    its weights. There and back differs in rounding, so attributes, and bits of parameters and buffers, of such modules
    are put back. A network that is in eval mode already is left alone.

    Args:
        network: any module.

    Example:
        >>> network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
        >>> with eval_mode(network):
        ...     [module.training for module in network]
        [False, False]
        >>> [module.training for module in network]
        [True, False]
    """
    modes = {module: module.training for module in network.modules()}
    if not any(modes.values()):
        yield
        return
    workers = [module for module in modes if _does_work(module)]
    tensors = {id(x): x for module in workers for x in (*module.parameters(), *module.buffers())}
    before = [(x, x.detach().clone()) for x in tensors.values()]
    attributes = [(module, _copied(vars(module))) for module in workers]
    network.eval()
    try:
        yield
    finally:
        _restore(network, modes)
        for module, values in attributes:
            vars(module).update(_copied(values))
        for x, value in before:
            x.data.copy_(value)  # unseen by autograd, as the work of the module is
        for module, mode in modes.items():
            if module.training != mode:  # a mode that was set by hand, and that train() does not give
                module.training = mode


def _restore(module: nn.Module, modes: dict[nn.Module, bool]) -> None:
    if module not in modes:  # made meanwhile
        return
    mode = modes[module]
    mixed = any(modes.get(part, mode) != mode for part in module.modules())
    if not mixed or _does_work(module):
        module.train() if mode else module.eval()
    else:
        module.training = mode  # its train() would do no more than that, besides telling frozen parts to train
    if mixed:
        for child in module.children():
            _restore(child, modes)


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes with copies of the tables of parameters, buffers and children, which may change as well."""
    return attributes | {name: copy.copy(attributes[name]) for name in ("_parameters", "_buffers", "_modules")}


def _does_work(module: nn.Module) -> bool:
    """Whether it has a ``train()`` or ``eval()`` of its own, by its class or set on it."""
    return any(
        name in vars(module) or getattr(type(module), name) is not getattr(nn.Module, name)
        for name in ("train", "eval")
    )
