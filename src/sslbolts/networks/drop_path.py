"""Stochastic depth, switched on in a network that was made without it."""

from torch import nn

from sslbolts.errors import UsageError

__all__ = ["set_drop_path"]

_NAMES = ("drop_path", "drop_path1", "drop_path2")


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Leaves out residual branches at random in training mode, in place: not in the first block, most in the last.

    Args:
        network: of timm, whose blocks have a place for it.
        rate: probability in the last block, in [0, 1); it rises linearly from 0 in the first.

    Raises:
        UsageError: if ``rate`` is positive and the network's blocks have no place for it.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, arXiv:1603.09382.

    Example:
        >>> import timm
        >>> network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        >>> set_drop_path(network, 0.1)
        >>> round(network.blocks[11].drop_path1.drop_prob, 3), network.blocks[0].drop_path1
        (0.1, Identity())
    """
    blocks = [module for module in network.modules() if any(hasattr(module, name) for name in _NAMES)]
    if not blocks:
        if rate:
            raise UsageError(
                f"the blocks of {type(network).__name__} have no place for stochastic depth: give drop_path=0, or a "
                "network of timm."
            )
        return
    from timm.layers.drop import DropPath

    for number, block in enumerate(blocks):
        share = rate * number / max(len(blocks) - 1, 1)
        for name in _NAMES:
            if hasattr(block, name):
                setattr(block, name, DropPath(share) if share else nn.Identity())
