"""Weights of something else than the network at hand: how they differ, and a refusal in few words."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["Misfit", "misfit", "refuse_misfit"]


class Misfit(NamedTuple):
    """Names of tensors by which two state dicts differ.

    Attributes:
        missing: of the network, and not among the weights.
        unexpected: among the weights, and not of the network.
        reshaped: in both, with two shapes.
    """

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]


def misfit(network: nn.Module, weights: Mapping[str, Tensor]) -> Misfit:
    """How weights differ from a network's own; three empty lists where they are its.

    Example:
        >>> import torch
        >>> misfit(nn.Linear(2, 1), {"weight": torch.zeros(3, 3), "scale": torch.ones(1)})
        Misfit(missing=['bias'], unexpected=['scale'], reshaped=['weight'])
    """
    own = network.state_dict()
    return Misfit(
        [name for name in own if name not in weights],
        [name for name in weights if name not in own],
        [name for name in own if name in weights and own[name].shape != weights[name].shape],
    )


def refuse_misfit(module: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another method, or of the same with other arguments.

    Args:
        module: what is to load it.
        checkpoint: what ``ModelCheckpoint`` wrote.

    Raises:
        UsageError: with one example of every kind of difference.
    """
    found = misfit(module, checkpoint["state_dict"])
    kinds = {"missing": found.missing, "unknown": found.unexpected, "of other shape": found.reshaped}
    differences = ", ".join(f"{len(keys)} {kind} ({keys[0]})" for kind, keys in kinds.items() if keys)
    if not differences:
        return
    name = type(module).__name__
    made_by = str(checkpoint.get("sslbolts_class", "")).rpartition(".")[2]
    if made_by not in ("", name):
        raise UsageError(f"the checkpoint is of {made_by}, not of {name}: {differences}. Load it with {made_by}.")
    raise UsageError(
        f"the checkpoint is not of this {name}: {differences}. Build it with the arguments that the checkpoint was "
        "made with."
    )
