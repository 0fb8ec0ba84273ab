"""Several softmax regressions on the same features, trained at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.distributed import all_sum

__all__ = ["LinearHeads"]

_MOMENTUM = 0.9
_SLOWEST_AVERAGE = 0.01


class LinearHeads:
    """One softmax regression per learning rate, all in one matrix product forward and one backward.

    Features are standardized by a running mean and deviation, so that one set of learning rates fits every network.
    The regression is convex, so it starts at zero; the optimizer is SGD with momentum 0.9. The gradient of softmax
    regression is written out, `xᵀ(p - y) / N`, so nothing of it enters any autograd graph, and it is summed over ranks
    together with the statistics in one collective: ranks stay equal, and equal to one process on the whole batch. The
    first batch only measures mean and deviation. Rows without label (-1) or with a feature that is not finite have no
    part in anything. Nothing here makes the host wait for the device.

    Args:
        width: number of features.
        classes: number of classes.
        lrs: learning rates, one head each.
        weight_decay: of the weights, not of the biases.
        device: where it lives.
    """

    def __init__(
        self, width: int, classes: int, lrs: Sequence[float], *, weight_decay: float, device: torch.device
    ) -> None:
        self.lrs = tuple(lrs)
        self.classes = classes
        self.weight_decay = weight_decay
        self.batches = 0
        heads = len(self.lrs) * classes
        self.weight = torch.zeros(width + 1, heads, device=device)  # its last row is the bias
        self.velocity = torch.zeros_like(self.weight)
        self.mean = torch.zeros(width, device=device)
        self.variance = torch.ones(width, device=device)
        self._place()

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.mean)

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """``(N, heads, classes)`` of features ``(N, width)``."""
        return self._scores(self._standardized(x.float()))

    @torch.no_grad()
    def step(self, x: Tensor, targets: Tensor) -> Tensor:
        """Train on a batch; ``(heads + 1,)`` int64: right predictions of each head before it, and labelled rows.

        Args:
            x: features ``(N, width)``.
            targets: labels ``(N,)``, -1 for none.
        """
        x = x.float()
        valid = (targets >= 0) & x.isfinite().all(1)
        x = torch.where(valid[:, None], x, self.mean)
        labels = torch.where(valid, targets, 0)
        weights = valid.float()

        rows = self._standardized(x) * weights[:, None]
        scores = self._scores(rows)
        right = ((scores.argmax(2) == labels[:, None]) & valid[:, None]).sum(0)
        error = (scores.softmax(2) - F.one_hot(labels, self.classes)[:, None]) * weights[:, None, None]
        gradient = torch.cat([rows, weights[:, None]], 1).T @ error.flatten(1)

        offset = x - self.mean
        sums = [gradient.flatten(), offset.sum(0), offset.square().sum(0), weights.sum()[None]]
        packed = all_sum(torch.cat(sums))
        gradient, total, squares, count = packed.split([gradient.numel(), self.width, self.width, 1])
        count = count.clamp(min=1)
        if self.batches:
            self._descend(gradient.view_as(self.weight) / count)
        self._average(total / count, squares / count)
        self.batches += 1
        return torch.cat([right, valid.sum()[None]])

    def _standardized(self, x: Tensor) -> Tensor:
        return (x - self.mean) * (self.variance + 1e-5).rsqrt()

    def _scores(self, rows: Tensor) -> Tensor:
        scores = torch.addmm(self.weight[-1], rows, self.weight[:-1])
        return scores.view(len(rows), len(self.lrs), self.classes)

    def _descend(self, gradient: Tensor) -> None:
        if self.weight_decay:
            gradient[:-1].add_(self.weight[:-1], alpha=self.weight_decay)
        self.velocity.mul_(_MOMENTUM).add_(gradient)
        self.weight.addcmul_(self.velocity, self._steps, value=-1)

    def _average(self, offset: Tensor, squares: Tensor) -> None:
        """Move mean and variance towards the batch's: a plain average at first, then an exponential one."""
        share = max(1 / (self.batches + 1), _SLOWEST_AVERAGE)
        self.mean.add_(offset, alpha=share)
        self.variance.lerp_((squares - offset.square()).clamp_(min=0), share)

    def _place(self) -> None:
        lrs = torch.tensor(self.lrs, device=self.weight.device)
        self._steps = lrs.repeat_interleave(self.classes)

    def to(self, device: torch.device) -> "LinearHeads":
        """Move to a device, in place."""
        if self.weight.device != device:
            # Evaluation moves it under inference mode, and training has to go on with it.
            with torch.inference_mode(False):
                for name in ("weight", "velocity", "mean", "variance"):
                    setattr(self, name, getattr(self, name).to(device))
                self._place()
        return self

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types."""
        tensors = {name: getattr(self, name).clone() for name in ("weight", "velocity", "mean", "variance")}
        return {**tensors, "batches": self.batches, "lrs": list(self.lrs), "classes": self.classes}

    @classmethod
    def from_state(cls, state: dict[str, Any], *, weight_decay: float) -> "LinearHeads":
        """The heads of a state dict."""
        device = state["weight"].device
        heads = cls(len(state["mean"]), state["classes"], state["lrs"], weight_decay=weight_decay, device=device)
        heads.weight, heads.velocity = state["weight"].clone(), state["velocity"].clone()
        heads.mean, heads.variance = state["mean"].clone(), state["variance"].clone()
        heads.batches = state["batches"]
        return heads
