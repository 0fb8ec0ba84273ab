"""Several classifiers on the same features, one per learning rate, in one batched product."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.checks import whole
from sslbolts.checks.devices import with_float64
from sslbolts.errors import UsageError
from sslbolts.evaluation.probes.settings import ProbeSettings
from sslbolts.networks.tiny_batches import batch_normalized
from sslbolts.optim import LARC, LARS, Schedule, warmup_cosine, warmup_steps

__all__ = ["Heads", "ProbeHeads", "probe_loss", "probe_optimizer"]


class Heads(nn.Module):
    """Several classifiers on the same input: ``(N, ...) -> (N, count, num_classes)``, each with its own parameters.

    Attributes:
        count: how many.
    """

    count: int

    def head_parameters(self, head: int) -> list[nn.Parameter]:
        """Of one classifier."""
        raise NotImplementedError


class ProbeHeads(Heads):
    """Linear classifiers, or MLPs of one hidden layer, that share their features and nothing else.

    Each has parameters of its own, so that its optimizer's settings and norms are its own too; forward joins them into
    one product. The hidden layer is AMDIM's: dropout, linear without bias, batch norm, ReLU, dropout, linear.

    Args:
        width: number of features.
        num_classes: number of classes.
        count: how many classifiers.
        settings: whose ``norm`` and ``weight_std`` are used.
        hidden_dim: width of the hidden layer; 0 is none.
        dropout: of the MLP, in [0, 1).

    Raises:
        UsageError: for a value out of its range.

    Example:
        >>> heads = ProbeHeads(4, 3, count=2, settings=ProbeSettings("mine", lr=0.1))
        >>> tuple(heads(torch.randn(5, 4)).shape)
        (5, 2, 3)
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        *,
        count: int,
        settings: ProbeSettings,
        hidden_dim: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        whole(2, num_classes=num_classes)
        whole(0, hidden_dim=hidden_dim)
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout={dropout}: it must be in [0, 1).")
        self.count = count
        self.num_classes = num_classes
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.norm = settings.norm
        if settings.norm == "batch_norm":
            self.batch_norm = nn.BatchNorm1d(width, eps=1e-6, affine=False)
        self.register_buffer("mean", torch.zeros(width) if settings.norm == "standardize" else None)
        self.register_buffer("std", torch.ones(width) if settings.norm == "standardize" else None)
        self.standardized = settings.norm != "standardize"
        if hidden_dim:
            hidden = [_linear_weight(width, hidden_dim) for _ in range(count)]
            self.hidden = nn.ParameterList(hidden)
            self.scale = nn.ParameterList(torch.ones(hidden_dim) for _ in range(count))
            self.shift = nn.ParameterList(torch.zeros(hidden_dim) for _ in range(count))
            self.hidden_norm = nn.BatchNorm1d(count * hidden_dim, affine=False)
            weights = [_linear_weight(hidden_dim, num_classes) for _ in range(count)]
        else:
            first = torch.randn(width, num_classes) * settings.weight_std  # all heads start alike
            weights = [first.clone() for _ in range(count)]
        self.weight = nn.ParameterList(weights)
        self.bias = nn.ParameterList(torch.zeros(num_classes) for _ in range(count))

    @torch.no_grad()
    def standardize_by(self, features: Tensor) -> None:
        """Take mean and deviation of the training features ``(N, D)``; only with ``norm="standardize"``."""
        rows = with_float64(features)
        mean = rows.mean(0, dtype=torch.float64).to(rows.dtype)
        std = (rows - mean).square().mean(0, dtype=torch.float64).sqrt().to(rows.dtype)
        self.mean, self.std = mean.to(features), torch.where(std > 0, std, 1.0).to(features)
        self.standardized = True

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, count, num_classes)`` of features ``(N, width)``."""
        return self.classify(self.normalize(x))

    def classify(self, x: Tensor) -> Tensor:
        """Logits of features that :meth:`normalize` has seen."""
        if not self.hidden_dim:
            weight = torch.cat(list(self.weight), 1) if self.count > 1 else self.weight[0]
            return torch.addmm(torch.cat(list(self.bias)), x, weight).view(len(x), self.count, self.num_classes)
        x = F.dropout(x, self.dropout, self.training) @ torch.cat(list(self.hidden), 1)  # (N, count * H)
        x = batch_normalized(self.hidden_norm, x) * torch.cat(list(self.scale)) + torch.cat(list(self.shift))
        x = F.dropout(x.relu(), self.dropout, self.training).view(len(x), self.count, self.hidden_dim)
        logits = torch.einsum("nhk,hkc->nhc", x, torch.stack(list(self.weight)))
        return logits + torch.stack(list(self.bias))

    def head_parameters(self, head: int) -> list[nn.Parameter]:
        lists = [self.hidden, self.scale, self.shift] if self.hidden_dim else []
        return [parameters[head] for parameters in (*lists, self.weight, self.bias)]

    def normalize(self, x: Tensor) -> Tensor:
        """Features as the settings' ``norm`` says; ``batch_norm`` depends on the batch, the others do not."""
        if self.norm == "batch_norm":
            return batch_normalized(self.batch_norm, x)
        if self.norm == "standardize":
            if not self.standardized:
                raise UsageError(
                    'norm="standardize" needs all training features beforehand: evaluate on cached features, or give '
                    'norm="batch_norm".'
                )
            return (x - self.mean) / self.std
        return F.normalize(x) if self.norm == "l2" else x

    def get_extra_state(self) -> dict[str, Any]:
        return {"standardized": self.standardized}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.standardized = state["standardized"]


def probe_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over heads of the mean cross-entropy of the labeled rows, so that each head learns as if it were alone.

    Of several classes it is the sum of the binary cross-entropies of those that are known of a row.

    Args:
        logits: ``(N, count, C)``.
        targets: labels ``(N,)``, -1 where there is none; or ``(N, C)`` of 1, 0, and -1 for what is not known.

    Example:
        >>> round(probe_loss(torch.zeros(3, 2, 4), torch.tensor([0, 1, -1])).item(), 4)  # 2 log 4
        2.7726
    """
    if targets.ndim == 2:
        known = targets >= 0
        wanted = (targets == 1).to(logits.dtype)[:, None].expand_as(logits)
        each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * known[:, None]
        return each.sum() / known.any(1).sum().clamp(min=1)
    count = logits.shape[1]
    labels = targets[:, None].expand(-1, count)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="sum")
    return losses / (targets >= 0).sum().clamp(min=1)


def probe_optimizer(
    heads: Heads, settings: ProbeSettings, *, batch_size: int, total: int, warmup: int
) -> tuple[torch.optim.Optimizer, Schedule]:
    """The settings' optimizer with one group per head, and its schedule per step.

    Args:
        heads: one per learning rate of the settings.
        settings: what to do.
        batch_size: images per step on all devices.
        total: steps of the run.
        warmup: steps of the linear rise.
    """
    ratio = batch_size / 256
    scale = {"linear": ratio, "sqrt": ratio**0.5, "none": 1.0}[settings.lr_scaling]
    groups: list[dict[str, Any]] = [
        {"params": heads.head_parameters(head), "lr": lr * scale} for head, lr in enumerate(settings.lrs)
    ]
    decay = settings.weight_decay
    optimizer: torch.optim.Optimizer
    if settings.optimizer in ("lars", "larc"):
        kind = LARS if settings.optimizer == "lars" else LARC
        optimizer = kind(groups, lr=settings.lr * scale, momentum=0.9, weight_decay=decay)
    elif settings.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, betas=settings.betas, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(
            groups, lr=settings.lr * scale, momentum=0.9, nesterov=settings.nesterov, weight_decay=decay
        )

    def factor(step: int) -> float:
        if settings.decay == "cosine":
            return warmup_cosine(step, total=total, warmup=warmup)
        milestones = settings.milestones if settings.decay == "steps" else ()
        return warmup_steps(step, total=total, warmup=warmup, milestones=milestones, factor=settings.step_factor)

    return optimizer, Schedule(optimizer, factor)


def _linear_weight(width: int, out: int) -> Tensor:
    return nn.Linear(width, out, bias=False).weight.detach().T.contiguous()
