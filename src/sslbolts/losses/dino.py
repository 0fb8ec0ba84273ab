"""Self-distillation without labels: the teacher's centered and sharpened distribution is the student's target."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.losses.precision import full_precision

__all__ = ["dino", "dino_targets", "mean_entropy"]


@full_precision
def dino_targets(teacher: Tensor, center: Tensor, temperature: float) -> Tensor:
    """The teacher's distribution, `softmax((t - c) / τ)`: centering keeps it from one peak, sharpening from uniformity.

    Args:
        teacher: ``(..., K)`` logits.
        center: ``(K,)``, the running mean of the teacher's logits before this batch.
        temperature: `τ` > 0; smaller is sharper.

    Returns:
        ``(..., K)`` probabilities, without gradient.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294.

    Example:
        >>> dino_targets(torch.tensor([[1.0, 1.0]]), torch.zeros(2), 0.04).tolist()
        [[0.5, 0.5]]
    """
    targets: Tensor = ((teacher.detach() - center) / temperature).softmax(-1)
    return targets


@full_precision
def mean_entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of distributions ``(..., K)``, in nats: 0 for one-hot ones, `ln K` for uniform ones.

    Example:
        >>> round(mean_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).item(), 4)  # ln(2) / 2
        0.3466
    """
    entropy: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return entropy


@full_precision
def dino(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    r"""Cross-entropy between the teacher's view of an image and every other view of the student.

    .. math:: L = \frac{1}{G (V - 1)} \sum_{i \le G} \sum_{v \ne i} \frac1B \sum_b
              H\!\left(\mathrm{softmax}\frac{t_i - c}{\tau_t},\ \mathrm{softmax}\frac{s_v}{\tau_s}\right)

    Args:
        student: ``(V, B, K)`` logits of all views; the first `G` are those that the teacher sees.
        teacher: ``(G, B, K)`` logits; no gradient flows into them.
        center: ``(K,)``, the running mean of the teacher's logits before this batch.
        student_temperature: `τ_s` > 0.
        teacher_temperature: `τ_t` > 0.

    Returns:
        Scalar, at least the mean entropy of the targets; `ln K` where the student's output is uniform.

    Raises:
        UsageError: if the shapes do not fit.

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294,
    equation 3.

    Example:
        >>> student, teacher = torch.zeros(4, 8, 16), torch.randn(2, 8, 16)
        >>> round(dino(student, teacher, torch.zeros(16)).item(), 4)  # ln(16)
        2.7726
    """
    views, seen = student.shape[0], teacher.shape[0]
    if student.dim() != 3 or student.shape[1:] != teacher.shape[1:] or not 1 <= seen <= views or views < 2:
        raise UsageError(
            f"dino takes logits (V, B, K) of two or more views of the student and (G, B, K) of the first of them by "
            f"the teacher, got {tuple(student.shape)} and {tuple(teacher.shape)}."
        )
    targets = dino_targets(teacher, center, teacher_temperature)  # (G, B, K)
    log_p = F.log_softmax(student / student_temperature, dim=2)  # (V, B, K)
    all_pairs = (targets.sum(0) * log_p.sum(0)).sum(1).mean()
    same_view = (targets * log_p[:seen]).sum(2).sum(0).mean()
    return (same_view - all_pairs) / (seen * (views - 1))
