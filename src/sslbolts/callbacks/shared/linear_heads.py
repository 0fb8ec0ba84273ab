"""Several softmax regressions (or logistic ones) on the same features, trained at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslbolts.distributed import all_sum

__all__ = ["LinearHeads"]

_MOMENTUM = 0.9
_SLOWEST_AVERAGE = 0.01
_ROWS_BEFORE_TRAINING = 16
_TENSORS = ("weight", "velocity", "mean", "variance", "seen", "batches")


class LinearHeads:
    """One softmax regression per learning rate, all in one matrix product forward and one backward.

    Features are standardized by a running mean and deviation, so that one set of learning rates fits every network.
    The regression is convex, so it starts at zero; the optimizer is SGD with momentum 0.9. The gradient of softmax
    regression is written out, `xᵀ(p - y) / N`, so nothing of it enters any autograd graph, and it is summed over ranks
    together with the statistics in one collective: ranks stay equal, and equal to one process on the whole batch.

    Rows without label (-1), with a label of no class, or with a feature that is not finite have no part in anything.
    Where labels are few, a batch counts in mean and deviation by its labeled rows, and one without any changes nothing
    at all, momentum included. The first 16 labeled rows, and the rest of their batch, only measure mean and deviation.
    Nothing here makes the host wait for the device.

    With ``several`` a row may have several classes, of which each has a logistic regression of its own (binary
    cross-entropy, summed over the classes that are known of a row); all else is the same.

    Args:
        width: number of features.
        classes: number of classes.
        lrs: learning rates, one head each.
        weight_decay: of the weights, not of the biases.
        device: where it lives.
        several: labels are rows ``(N, classes)`` of 1, 0, and -1 for what is not known.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        lrs: Sequence[float],
        *,
        weight_decay: float,
        device: torch.device,
        several: bool = False,
    ) -> None:
        self.several = several
        self.lrs = tuple(lrs)
        self.classes = classes
        self.weight_decay = weight_decay
        heads = len(self.lrs) * classes
        self.weight = torch.zeros(width + 1, heads, device=device)  # its last row is the bias
        self.velocity = torch.zeros_like(self.weight)
        self.mean = torch.zeros(width, device=device)
        self.variance = torch.ones(width, device=device)
        self.seen = torch.zeros((), dtype=torch.int64, device=device)  # labeled rows of all ranks
        self.batches = torch.zeros_like(self.seen)  # that had any
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
        """Train on a batch.

        Args:
            x: features ``(N, width)``.
            targets: labels ``(N,)``, -1 for none; with ``several`` ``(N, classes)``.

        Returns:
            ``(heads + 3,)`` int64, of all ranks together: labeled rows, right predictions of each head before the step
            (0 with ``several``), rows used, labels of no class (rows of other numbers).
        """
        x = x.float()
        beyond = ((targets != 0) & (targets.abs() != 1)).any(1) if self.several else targets >= self.classes
        has_label = (targets >= 0).any(1) if self.several else targets >= 0
        valid = has_label & ~beyond & x.isfinite().all(1)
        x = torch.where(valid[:, None], x, self.mean)
        weights = valid.float()

        rows = self._standardized(x) * weights[:, None]
        scores = self._scores(rows)
        if self.several:
            right = self.seen.new_zeros(len(self.lrs))
            error = (scores.sigmoid() - (targets == 1).float()[:, None]) * (targets >= 0).float()[:, None]
        else:
            labels = torch.where(valid, targets, 0)
            right = ((scores.argmax(2) == labels[:, None]) & valid[:, None]).sum(0)
            one_hot = (labels[:, None] == torch.arange(self.classes, device=labels.device)).float()
            error = scores.softmax(2) - one_hot[:, None]
        error *= weights[:, None, None]
        gradient = torch.cat([rows, weights[:, None]], 1).T @ error.flatten(1)

        offset = x - self.mean
        labeled = has_label & ~beyond
        counts = torch.cat([labeled.sum()[None], right, valid.sum()[None], beyond.sum()[None]])
        sums = [gradient.flatten(), offset.sum(0), offset.square().sum(0), weights.sum()[None], counts.to(x.dtype)]
        packed = all_sum(torch.cat(sums))
        sizes = [gradient.numel(), self.width, self.width, 1, len(counts)]
        gradient, total, squares, count, all_counts = packed.split(sizes)
        divisor = count.clamp(min=1)
        self._descend(gradient.view_as(self.weight) / divisor, count)
        self._average(total / divisor, squares / divisor, count)
        found: Tensor = all_counts.to(torch.int64)
        return found

    def _standardized(self, x: Tensor) -> Tensor:
        return (x - self.mean) * (self.variance + 1e-5).rsqrt()

    def _scores(self, rows: Tensor) -> Tensor:
        scores = torch.addmm(self.weight[-1], rows, self.weight[:-1])
        return scores.view(len(rows), len(self.lrs), self.classes)

    def _descend(self, gradient: Tensor, count: Tensor) -> None:
        # As factors of 0 and 1, since a branch on their values would make the host wait.
        moves = ((count > 0) & (self.seen >= _ROWS_BEFORE_TRAINING)).float()
        if self.weight_decay:
            gradient[:-1].add_(self.weight[:-1], alpha=self.weight_decay)
        self.velocity.mul_(moves * _MOMENTUM + (1 - moves)).add_(gradient * moves)
        self.weight.addcmul_(self.velocity, self._steps * moves, value=-1)

    def _average(self, offset: Tensor, squares: Tensor, count: Tensor) -> None:
        """Move mean and variance: those of all rows at first, then an exponential average over some hundred batches."""
        self.seen.add_(count[0].long())
        self.batches.add_((count[0] > 0).long())
        # The rows' share of all that were seen, or a hundredth for each typical batch that they are worth.
        share = count / self.seen.clamp(min=1) * (self.batches * _SLOWEST_AVERAGE).clamp(min=1)
        share.clamp_(max=1)
        # About the new mean: variances within old and new rows, and between their means.
        self.variance.lerp_((squares - share * offset.square()).clamp_(min=0), share)
        self.mean.addcmul_(offset, share)

    def _place(self) -> None:
        lrs = torch.tensor(self.lrs, device=self.weight.device)
        self._steps = lrs.repeat_interleave(self.classes)

    def to(self, device: torch.device) -> "LinearHeads":
        """Move to a device, in place."""
        if self.weight.device != device:
            # Evaluation moves it under inference mode, and training has to go on with it.
            with torch.inference_mode(False):
                for name in _TENSORS:
                    setattr(self, name, getattr(self, name).to(device))
                self._place()
        return self

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types."""
        tensors = {name: getattr(self, name).clone() for name in _TENSORS}
        return {**tensors, "lrs": list(self.lrs), "classes": self.classes, "several": self.several}

    @classmethod
    def from_state(cls, state: dict[str, Any], *, weight_decay: float) -> "LinearHeads":
        """The heads of a state dict."""
        device = state["weight"].device
        several = state.get("several", False)
        width, classes, lrs = len(state["mean"]), state["classes"], state["lrs"]
        heads = cls(width, classes, lrs, weight_decay=weight_decay, device=device, several=several)
        for name in _TENSORS:
            setattr(heads, name, state[name].clone())
        return heads
