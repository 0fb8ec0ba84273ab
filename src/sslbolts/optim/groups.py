"""Parameters with and without weight decay, as groups of an optimizer."""

from typing import Any

from torch import nn

__all__ = ["parameter_groups"]


def parameter_groups(*modules: nn.Module, decay_vectors: bool = False) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices and kernels, and (without weight decay) all 1-d ones.

    Biases and the scales of normalization layers are 1-d; most papers of the collection that use LARS or AdamW leave
    them out of the decay. LARS recognizes them by their dimension and leaves them out of its adaptation too.

    Args:
        modules: the modules to optimize; frozen parameters (a teacher's) are left out, shared ones taken once.
        decay_vectors: all in one group instead.

    Returns:
        One or two groups for an optimizer's first argument; the second has ``weight_decay=0``.

    Example:
        >>> groups = parameter_groups(nn.Linear(3, 4))
        >>> [(group.get("weight_decay"), [tuple(p.shape) for p in group["params"]]) for group in groups]
        [(None, [(4, 3)]), (0.0, [(4,)])]
    """
    parameters = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    if decay_vectors:
        return [{"params": list(parameters.values())}]
    decayed = [p for p in parameters.values() if p.dim() > 1]
    exempt = [p for p in parameters.values() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
