"""The layer probe: logistic regression on the maps of every block of a frozen network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.batch import ViewBatch, images_of, targets_of
from sslbolts.checkpoints.from_checkpoint import FromCheckpoint
from sslbolts.checks import at_least, whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import right_answers
from sslbolts.evaluation.layers.maps import PooledMaps
from sslbolts.networks.tiny_batches import batch_normalized
from sslbolts.optim import Schedule, warmup_steps
from sslbolts.readouts.checks import usable
from sslbolts.training.facts import effective_batch_size, total_steps
from sslbolts.training.labeled_evaluation import LabeledEvaluation

__all__ = ["LAYER_LRS", "LayerProbe"]

LAYER_LRS = (0.001, 0.003, 0.01, 0.03, 0.1)


class LayerProbe(FromCheckpoint, LabeledEvaluation):
    """Logistic regressions on every block, several learning rates each, all trained together from one pass per batch.

    A block's map is adaptively max-pooled to about 9,000 values, which are standardized (batch norm without scales).
    The network stays in eval mode and receives no gradient. Batches are one view per image, or ``(images, targets,
    ...)``; or a :class:`~sslbolts.batch.ViewBatch` whose views are the layers' pooled maps ``(B, D_l)``, made before.

    Logs ``train/loss`` (mean over all regressions); evaluation counts each image once on any number of processes and
    leaves right answers in ``shares``, ``(layers, learning rates)``; the best of each layer is logged as
    ``val/LAYER/top1``.

    Args:
        maps: the network and its layers.
        num_classes: number of classes, at least 2.
        widths: values ``D_l`` of each layer.
        lrs: learning rates for 256 images per step; they follow the number of images linearly.
        weight_decay: of the weights.
        milestones: parts of the run after which the learning rate is divided by ten.

    Source: Zhang et al., Split-Brain Autoencoders, CVPR 2017, arXiv:1611.09842 (the layers, 9,000 values); Goyal et
    al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, ICCV 2019, arXiv:1905.01235 (28
    epochs, lr 0.01 divided by ten every 8, weight decay 5e-4).

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
        >>> probe = LayerProbe(PooledMaps(network, network, ["1", "2"]), 10, widths=[288, 256], lrs=[0.01, 0.1])
        >>> [tuple(scores.shape) for scores in probe.eval()(torch.zeros(4, 3, 8, 8))]
        [(4, 2, 10), (4, 2, 10)]
    """

    def __init__(
        self,
        maps: PooledMaps,
        num_classes: int,
        *,
        widths: Sequence[int],
        lrs: Sequence[float] = LAYER_LRS,
        weight_decay: float = 5e-4,
        milestones: Sequence[float] = (8 / 28, 16 / 28, 24 / 28),
    ) -> None:
        super().__init__()
        whole(2, num_classes=num_classes)
        at_least(0, weight_decay=weight_decay)
        if not lrs or min(lrs) <= 0 or len(set(lrs)) < len(lrs):
            raise UsageError(f"lrs={list(lrs)}: at least one learning rate is needed, positive and each once.")
        if len(widths) != len(maps.layers):
            raise UsageError(f"widths={list(widths)}: one number for each of the {len(maps.layers)} layers is needed.")
        self.maps = maps.eval().requires_grad_(False)
        self.lrs = tuple(float(lr) for lr in lrs)
        self.num_classes = num_classes
        self.weight_decay = weight_decay
        self.milestones = tuple(milestones)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, affine=False) for width in widths)
        self.heads = nn.ModuleList(nn.ModuleList(nn.Linear(width, num_classes) for _ in self.lrs) for width in widths)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)
        self.shares: list[list[float]] = []

    def train(self, mode: bool = True) -> "LayerProbe":
        super().train(mode)
        self.maps.eval()
        return self

    def forward(self, x: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Logits ``(B, learning rates, classes)`` of each layer; of images, or of pooled maps."""
        if isinstance(x, Tensor):
            with torch.no_grad():
                x = self.maps(x)
        scores = []
        for rows, norm, heads in zip(x, _norms(self.norms), self.heads):
            weight = torch.cat([head.weight for head in _linears(heads)])
            bias = torch.cat([head.bias for head in _linears(heads)])
            together = F.linear(batch_normalized(norm, rows.float()), weight, bias)
            scores.append(together.view(len(rows), len(self.lrs), self.num_classes))
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Sum of all cross-entropies: each regression sees the gradient of its own."""
        targets = targets_of(batch)
        labels = targets[:, None].expand(-1, len(self.lrs)).flatten()
        labeled = (targets >= 0).sum().clamp(min=1)
        sums = [F.cross_entropy(s.flatten(0, 1), labels, ignore_index=-1, reduction="sum") for s in self(_input(batch))]
        loss = torch.stack(sums).sum() / labeled
        self.log("train/loss", loss / (len(sums) * len(self.lrs)), prog_bar=True, batch_size=len(targets))
        return loss

    def answers(self, batch: Any) -> dict[str, Tensor]:
        targets, scores = targets_of(batch), torch.cat(self(_input(batch)), 1)  # (B, layers * learning rates, C)
        return {"top1": right_answers(scores, targets[:, None])["top1"], "finite": usable(scores)}

    def report(self, stage: str, shares: dict[str, Any]) -> None:
        """The best learning rate of each layer; all of them are kept in ``shares``.

        Raises:
            UsageError: in testing, if all learning rates of a layer have scores that are not finite.
        """
        top1, finite, count = shares["top1"], shares["finite"], len(self.lrs)
        self.shares = [top1[start : start + count] for start in range(0, len(top1), count)]
        self.judge(stage, min(max(finite[start : start + count]) for start in range(0, len(top1), count)))
        for layer, of_layer in zip(self.maps.layers, self.shares):
            self.log(f"{stage}/{layer}/top1", max(of_layer))

    def configure_optimizers(self) -> Any:
        """SGD with Nesterov momentum 0.9, a group for each learning rate."""
        scale = effective_batch_size(self.trainer) / 256
        groups = []
        for number, lr in enumerate(self.lrs):
            heads = [_linears(layer)[number] for layer in self.heads]
            groups.append({"params": [h.weight for h in heads], "lr": lr * scale})
            groups.append({"params": [h.bias for h in heads], "lr": lr * scale, "weight_decay": 0.0})
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=self.weight_decay)
        total = total_steps(self.trainer)
        schedule = Schedule(optimizer, lambda step: warmup_steps(step, total=total, milestones=self.milestones))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _norms(norms: Any) -> list[nn.BatchNorm1d]:
    return list(norms)


def _linears(heads: Any) -> list[nn.Linear]:
    return list(heads)


def _input(batch: Any) -> Tensor | list[Tensor]:
    if isinstance(batch, ViewBatch) and batch.views[0].ndim == 2:
        return batch.views
    return images_of(batch)
