"""The refusal to go on from a checkpoint with another optimizer than the one whose state it holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from sslbolts.errors import UsageError

__all__ = ["StoredOptimizers"]


class StoredOptimizers:
    """What a checkpoint says of its optimizers, without their state.

    torch puts the settings and the state of a checkpoint into whatever optimizer there is: one of another class then
    fails in its first step, or trains on with settings that are not its own.

    Args:
        checkpoint: what ``ModelCheckpoint`` wrote.

    Example:
        >>> adam = {"class_path": "torch.optim.adam.Adam", "init_args": {"lr": 0.1, "eps": 1e-8}}
        >>> stored = StoredOptimizers({"hyper_parameters": {"optimizer": adam}})
        >>> stored.without_effect({"init_args": {"lr": 0.2, "eps": 1e-6}})
        ['eps=1e-06 (the checkpoint has 1e-08)']
    """

    def __init__(self, checkpoint: Mapping[str, Any]) -> None:
        described = checkpoint.get("hyper_parameters", {}).get("optimizer")
        self.plain: Mapping[str, Any] = described if isinstance(described, Mapping) else {}
        states = checkpoint.get("optimizer_states")
        self.sizes = None if states is None else [_sizes(state["param_groups"]) for state in states]

    def refuse_others(self, optimizers: Sequence[Optimizer], plain: Mapping[str, Any]) -> None:
        """Refuse optimizers that cannot go on from the checkpoint's.

        Args:
            optimizers: of the run.
            plain: the description that its checkpoints will store.

        Raises:
            UsageError: names both.
        """
        stored, given = _name(self.plain), _name(plain)
        if stored and stored != given:
            raise UsageError(
                f"the checkpoint was made with {stored}, and this run has {given}, which cannot go on from what the "
                f"other kept of its steps: give the optimizer {stored}, or begin a run of its own with {given}."
            )
        sizes = [_sizes(optimizer.param_groups) for optimizer in optimizers]
        if self.sizes is not None and self.sizes != sizes:
            raise UsageError(
                f"the checkpoint's optimizer has {_counts(self.sizes)}, and this run's {_counts(sizes)}: build the "
                "model with the arguments that the checkpoint was made with, frozen parts included."
            )

    def without_effect(self, plain: Mapping[str, Any]) -> list[str]:
        """Settings, besides the learning rate, that are given otherwise than in the checkpoint, whose own go on."""
        stored, given = self.plain.get("init_args", {}), plain.get("init_args", {})
        return [
            f"{name}={given[name]} (the checkpoint has {stored[name]})"
            for name in given
            if name in stored and name != "lr" and _listed(given[name]) != _listed(stored[name])
        ]


def _sizes(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    return [len(group["params"]) for group in groups]


def _counts(optimizers: Sequence[Sequence[int]]) -> str:
    """In words, such as "2 parameter groups (31 and 30 parameters)"."""
    said = [
        f"{len(sizes)} parameter group{'s' * (len(sizes) != 1)} (of {' and '.join(map(str, sizes))} parameters)"
        for sizes in optimizers
    ]
    return " beside ".join(said) or "none"


def _name(plain: Mapping[str, Any]) -> str:
    return str(plain.get("class_path", "")).rpartition(".")[2]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
