"""A method out of its own checkpoint, with all its heads, without a Trainer."""

import warnings

from torch import nn

from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checkpoints.safe_arguments import with_checked_classes
from sslbolts.checks import is_named
from sslbolts.errors import argument_names
from sslbolts.methods import SSLModule

__all__ = ["method_of_checkpoint"]


def method_of_checkpoint(checkpoint: Checkpoint, backbone: nn.Module | None = None) -> SSLModule | None:
    """The method of a checkpoint, with its weights.

    Args:
        checkpoint: of any module.
        backbone: the network to fill, where the method was given a module.

    Returns:
        None where the checkpoint is not of a method, or holds too little to make it again; with a warning, where its
        class is one that no file may name.

    Raises:
        UsageError: if the weights are not those of the method.
    """
    cls = checkpoint.find_class(SSLModule)
    if cls is None:
        path = checkpoint.class_path or ""
        if checkpoint.is_ours and not is_named(path):
            warnings.warn(
                f'"{checkpoint.path}" is of {path}, a class that no file may name: its backbone alone is read, without '
                "what that class does before it or after it. To have all of it, name the class: --model on the command "
                f"line, torch.serialization.add_safe_globals([{path.rpartition('.')[2]}]) in Python.",
                stacklevel=4,
            )
        return None
    names = set(argument_names(cls))
    # How it was optimized does not matter now, and its class may be one that a file may not name.
    kept = {k: v for k, v in checkpoint.arguments.items() if k in names and k != "optimizer"}
    arguments = {k: with_checked_classes(v) for k, v in kept.items()}
    if backbone is not None:
        arguments = {k: v for k, v in arguments.items() if k not in ("stem", "in_chans", "backbone_kwargs")}
        arguments["backbone"] = backbone
    elif ("backbone" in names and not isinstance(arguments.get("backbone"), str)) or not names.isdisjoint(
        checkpoint.left_out
    ):
        return None
    method = checkpoint.make(cls, arguments)
    if backbone is None:  # sizes memories, and refuses other weights in few words
        method.on_load_checkpoint({**checkpoint.content, "state_dict": checkpoint.weights})
    method.load_state_dict(checkpoint.weights)
    return method
