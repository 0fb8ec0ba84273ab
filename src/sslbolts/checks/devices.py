"""Float64 on devices that have none."""

from torch import Tensor

__all__ = ["with_float64"]


def with_float64(x: Tensor) -> Tensor:
    """``x`` itself, or a copy on the CPU where its device has no float64, as Apple's GPUs have not.

    What is computed from it in float64 is then on the CPU, too.

    Example:
        >>> import torch
        >>> with_float64(torch.ones(2)).double().mean().item()
        1.0
    """
    return x.cpu() if x.device.type == "mps" else x
