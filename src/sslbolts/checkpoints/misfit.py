"""The refusal of a checkpoint that is of something else, in fewer words than a list of all its keys."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["refuse_misfit"]


def refuse_misfit(module: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another method, or of the same with other arguments.

    Args:
        module: what is to load it.
        checkpoint: what ``ModelCheckpoint`` wrote.

    Raises:
        UsageError: with one example of every kind of difference.
    """
    wanted: Mapping[str, Tensor] = module.state_dict()
    stored: Mapping[str, Tensor] = checkpoint["state_dict"]
    kinds = {
        "missing": [key for key in wanted if key not in stored],
        "unknown": [key for key in stored if key not in wanted],
        "of other shape": [key for key in wanted if key in stored and wanted[key].shape != stored[key].shape],
    }
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
