"""The module of a checkpoint, made without a Trainer."""

import inspect
from typing import Any, Self

from sslbolts._lightning import LightningModule
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.errors import UsageError

__all__ = ["FromCheckpoint"]


class FromCheckpoint(LightningModule):
    """A LightningModule that reads its own checkpoints as tensors and plain data, under every version of Lightning."""

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """The module of a checkpoint, which can import, call and open nothing else.

        Args:
            checkpoint_path: a file.
            map_location: the device of the module; None is the CPU.
            hparams_file: not taken: give the arguments.
            strict: whether all weights must be there; None is ``strict_loading``.
            weights_only: False loads whatever the file holds, as Lightning does, and runs its code.
            arguments: in place of the checkpoint's.

        Raises:
            UsageError: if there is no such file, or it is of another module or names a class that no file may name.
        """
        if hparams_file is not None:
            raise UsageError("hparams_file is not read: give the arguments by name.")
        if weights_only is False:
            return cls._load_trusted(checkpoint_path, map_location, strict=strict, **arguments)
        checkpoint = Checkpoint.read(checkpoint_path)
        module = checkpoint.make(cls, {**checkpoint.arguments_for(cls, arguments), **arguments})
        if strict is not None:
            module.strict_loading = strict
        module.on_load_checkpoint({**checkpoint.content, "state_dict": checkpoint.weights})
        module.load_state_dict(checkpoint.weights, strict=module.strict_loading)
        return module.to(map_location or "cpu")

    @classmethod
    def _load_trusted(cls, *args: Any, **arguments: Any) -> Self:
        """Lightning's way, in a function of its own: 2.5.0 takes each frame with ``super`` for a constructor's."""
        load: Any = super().load_from_checkpoint
        known = inspect.signature(LightningModule.load_from_checkpoint).parameters
        trust = {"weights_only": False} if "weights_only" in known else {}  # without it, 2.5 trusts every file
        module: Self = load(*args, **trust, **arguments)
        return module
