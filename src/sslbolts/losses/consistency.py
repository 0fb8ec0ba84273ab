"""Losses of semi-supervised learning: labels where there are some, agreement with a teacher everywhere."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.distributed import all_sum, world_size
from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = ["Distance", "consistency", "labeled_cross_entropy"]

Distance = Literal["mse", "kl"]
"""Distance of two distributions over classes: mean squared error, or Kullback-Leibler divergence."""


@full_precision
def consistency(student: Tensor, teacher: Tensor, distance: Distance = "mse") -> Tensor:
    r"""Distance of the student's distribution over classes from the teacher's, on the same images.

    .. math:: \frac{1}{BC} \sum_{ic} (p_{ic} - q_{ic})^2 \quad\text{or}\quad
              \frac{1}{B} \sum_{ic} q_{ic} (\log q_{ic} - \log p_{ic}), \qquad
              p = \mathrm{softmax}(\text{student}),\; q = \mathrm{softmax}(\text{teacher})

    Args:
        student: ``(B, C)`` logits.
        teacher: ``(B, C)`` logits; no gradient flows into them.
        distance: "mse", the paper's choice, or "kl".

    Returns:
        Scalar >= 0.

    Raises:
        UsageError: if the shapes differ, or for an unknown distance.

    Source: Tarvainen and Valpola, Mean Teachers are Better Role Models, NeurIPS 2017, arXiv:1703.01780, section 2.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0]])
        >>> consistency(logits, logits + 3).item(), consistency(logits, torch.tensor([[99.0, 0.0]])).item()
        (0.0, 0.25)
    """
    one_shape("consistency", "(B, C)", student=student, teacher=teacher)
    one_of(get_args(Distance), distance=distance)
    teacher = teacher.detach()
    if distance == "kl":
        return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
    return F.mse_loss(student.softmax(1), teacher.softmax(1))


@full_precision
def labeled_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy over the labeled images of the global batch; label -1 is none, and adds nothing.

    Ranks hold different numbers of labels. Each divides its own sum by the mean number of labels per rank, so that the
    average over ranks, which DDP takes of the gradient, is the mean over all labeled images.

    Args:
        logits: ``(B, C)``.
        targets: ``(B,)`` int64 classes, -1 for unlabeled.

    Returns:
        Scalar; 0 where nothing is labeled.

    Raises:
        UsageError: if the shapes do not belong together.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0], [5.0, -5.0]])
        >>> round(labeled_cross_entropy(logits, torch.tensor([0, -1])).exp().item(), 4)
        2.0
        >>> labeled_cross_entropy(logits, torch.tensor([-1, -1])).item()
        0.0
    """
    if logits.dim() != 2 or targets.shape != logits.shape[:1]:
        raise UsageError(
            f"labeled_cross_entropy takes logits (B, C) and targets (B,), got {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}."
        )
    total = F.cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
    labeled = all_sum((targets >= 0).sum().to(logits.dtype)) / world_size()
    loss: Tensor = total / labeled.clamp(min=1 / world_size())
    return loss
