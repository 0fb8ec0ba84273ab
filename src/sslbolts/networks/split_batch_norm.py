"""Batch norms that look at one device's batch as if it were spread over several."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.errors import UsageError

__all__ = ["BATCH_NORMS", "join_batch_norms", "split_batch_norms"]


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Torch's layers that normalize over the batch; those of other libraries are subclasses."""


class _Split(nn.Module):
    """The training of a batch norm in which sample `n` is normalized with the samples of group `n mod groups`."""

    groups: int
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: nn.Parameter
    bias: nn.Parameter
    momentum: float | None
    eps: float

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            whole: Tensor = super().forward(x)  # of the batch norm that follows in the order of the bases
            return whole
        samples, channels = x.shape[:2]
        if samples % self.groups:
            raise UsageError(
                f"a batch of {samples} images cannot be split into {self.groups} equal groups for batch norm: make "
                f"it a multiple of {self.groups}, pass a bn_splits that divides it, or, if it is the last batch of an "
                "epoch, give the loader drop_last=True."
            )
        if samples == self.groups and x[0, 0].numel() == 1:
            raise UsageError(
                f"{self.groups} groups of a batch of {samples} images have one image each, and batch norm needs two on "
                "features of 1x1: make the batch larger, or pass a smaller bn_splits."
            )
        # Neighbors become channels of one image, so that one call normalizes every group by itself.
        folded = x.reshape(samples // self.groups, self.groups * channels, *x.shape[2:])
        mean, var, weight, bias = (
            None if tensor is None else tensor.repeat(self.groups)
            for tensor in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        y = F.batch_norm(folded, mean, var, weight, bias, True, self.momentum or 0.0, self.eps).reshape(x.shape)
        if mean is not None and var is not None and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.copy_(mean.view(self.groups, channels).mean(0))
                self.running_var.copy_(var.view(self.groups, channels).mean(0))
        return y


class _SplitBatchNorm1d(_Split, nn.BatchNorm1d):
    pass


class _SplitBatchNorm2d(_Split, nn.BatchNorm2d):
    pass


_SPLIT: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _SplitBatchNorm1d,
    nn.BatchNorm2d: _SplitBatchNorm2d,
}


def split_batch_norms(network: nn.Module, groups: int) -> None:
    """Let the batch norms of ``network`` normalize ``groups`` parts of each training batch by themselves.

    So one device computes what several do that share no statistics. Sample `n` is in group `n mod groups`, and running
    statistics are the mean over groups. Parameters, buffers and their names stay as they are.

    Args:
        network: changed in place; :func:`join_batch_norms` undoes it.
        groups: at least 1.

    Raises:
        UsageError: if it has batch norms of another kind than torch's; in training, for a batch that is no multiple of
            ``groups``.

    Source: the CIFAR-10 notebook of He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR
    2020, arXiv:1911.05722.

    Example:
        >>> network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, affine=False))
        >>> split_batch_norms(network, 2)
        >>> network[1](torch.tensor([[0.0], [10.0], [2.0], [14.0]])).round().flatten().tolist()  # (0, 2) and (10, 14)
        [-1.0, -1.0, 1.0, 1.0]
        >>> join_batch_norms(network)
    """
    for name, norm in network.named_modules():
        if not isinstance(norm, BATCH_NORMS):
            continue
        if type(norm) in _SPLIT:
            norm.__class__ = _SPLIT[type(norm)]  # type: ignore[assignment]
        elif not isinstance(norm, _Split):
            raise UsageError(
                f"{name} is a {type(norm).__name__}, which cannot be split into groups: pass bn_splits=1 (images of "
                "one batch then tell by their statistics which key is whose), or a backbone with torch's own batch "
                "norms, or without."
            )
        norm.groups = groups  # type: ignore[assignment]


def join_batch_norms(network: nn.Module) -> None:
    """Undo :func:`split_batch_norms`."""
    plain = {split: joined for joined, split in _SPLIT.items()}
    for norm in network.modules():
        if type(norm) in plain:
            norm.__class__ = plain[type(norm)]  # type: ignore[assignment]
            del norm.groups
