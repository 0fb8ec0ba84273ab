"""The shapes that a loss takes: one check for tensors whose rows belong together."""

from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["one_shape"]


def one_shape(loss: str, dims: str = "(B, D)", /, **tensors: Tensor) -> None:
    """Refuse tensors of different shapes, or of another number of dimensions.

    Args:
        loss: name of the function, for the message.
        dims: what its dimensions are, as in ``"(B, D)"``.
        tensors: by their names.

    Raises:
        UsageError: names the loss, the tensors and their shapes.

    Example:
        >>> import torch
        >>> one_shape("nt_xent", z1=torch.zeros(8, 4), z2=torch.zeros(8, 3))
        Traceback (most recent call last):
        sslbolts.errors.UsageError: nt_xent takes z1 and z2 of one shape (B, D), got (8, 4) and (8, 3).
    """
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    if len(set(shapes)) > 1 or len(shapes[0]) != len(dims.split(",")):
        given = " and ".join(map(str, shapes))
        raise UsageError(f"{loss} takes {' and '.join(tensors)} of one shape {dims}, got {given}.")
