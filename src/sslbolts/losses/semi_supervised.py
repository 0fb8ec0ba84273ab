"""Losses of semi-supervised learning that go with the cross entropy of the labeled images."""

from collections.abc import Callable

import torch
from torch import Tensor

from sslbolts.errors import UsageError
from sslbolts.losses.consistency import labeled_cross_entropy
from sslbolts.losses.precision import full_precision
from sslbolts.losses.shapes import one_shape

__all__ = [
    "adversarial_perturbation",
    "joint_loss",
    "mean_of_two_cross_entropies",
    "prediction_entropy",
    "virtual_adversarial",
]


def joint_loss(logits: Tensor, targets: Tensor, unlabeled: Tensor, weight: float = 1.0) -> Tensor:
    r"""The objective of joint training, :math:`L_l + w\, L_u`: cross entropy of labeled images, and another loss.

    Args:
        logits: ``(B, C)`` of the images with labels, or of all.
        targets: ``(B,)`` int64 classes, -1 for unlabeled.
        unlabeled: scalar `L_u`.
        weight: `w`.

    Returns:
        Scalar.

    Source: Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670, equation 1.

    Example:
        >>> joint_loss(torch.tensor([[99.0, 0.0]]), torch.tensor([0]), torch.tensor(2.0), weight=0.5).item()
        1.0
    """
    return labeled_cross_entropy(logits, targets) + weight * unlabeled


def mean_of_two_cross_entropies(logits: Tensor, targets: Tensor, labeled: Tensor) -> Tensor:
    r"""The mean of two means, that over the rows of labeled and that over the rows of unlabeled images.

    .. math:: \tfrac12 \Big( \operatorname{mean}_{i \in l} \mathrm{CE}_i + \operatorname{mean}_{i \in u} \mathrm{CE}_i
        \Big)

    It is not the mean over all rows, unless there are equally many of both. Where there are none of one kind, its mean
    counts as 0.

    Args:
        logits: ``(N, K)``.
        targets: ``(N,)`` int64, the answers of a task that needs no labels, such as rotations; on all rows.
        labeled: ``(N,)`` bool, the rows of images with a class label.

    Returns:
        Scalar.

    Raises:
        UsageError: if the shapes do not belong together.

    Source: Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670, official code.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [99.0, 0.0], [99.0, 0.0]])
        >>> loss = mean_of_two_cross_entropies(logits, torch.zeros(3).long(), torch.tensor([True, False, False]))
        >>> round((2 * loss).exp().item(), 4)
        2.0
    """
    if labeled.shape != targets.shape:
        raise UsageError(
            f"targets {tuple(targets.shape)} and labeled {tuple(labeled.shape)} must be of one shape (N,)."
        )
    of_labeled = labeled_cross_entropy(logits, targets.masked_fill(~labeled, -1))
    of_unlabeled = labeled_cross_entropy(logits, targets.masked_fill(labeled, -1))
    return (of_labeled + of_unlabeled) / 2


@full_precision
def virtual_adversarial(perturbed: Tensor, clean: Tensor) -> Tensor:
    r"""How far an adversarial perturbation moves the distribution over classes, :math:`\mathrm{KL}(p' \,\|\, p)`.

    Args:
        perturbed: ``(B, C)`` logits of perturbed images.
        clean: ``(B, C)`` logits of the images as they are; no gradient flows into them.

    Returns:
        Scalar >= 0, the mean over the images.

    Raises:
        UsageError: if the shapes differ.

    Source: Miyato et al., Virtual Adversarial Training, TPAMI 2018, arXiv:1704.03976, as in the official code of Zhai
    et al., S4L, ICCV 2019, arXiv:1905.03670; the paper has the two distributions the other way around.

    Example:
        >>> virtual_adversarial(torch.zeros(1, 2), torch.zeros(1, 2)).item()
        0.0
    """
    one_shape("virtual_adversarial", "(B, C)", perturbed=perturbed, clean=clean)
    log_p, log_q = perturbed.log_softmax(1), clean.detach().log_softmax(1)
    divergence: Tensor = (log_p.exp() * (log_p - log_q)).sum(1).mean()
    return divergence


@full_precision
def prediction_entropy(logits: Tensor) -> Tensor:
    r"""Mean entropy of the distributions over classes, :math:`-\sum_c p_c \log p_c`.

    Args:
        logits: ``(B, C)``.

    Returns:
        Scalar, from 0 to :math:`\log C`.

    Source: Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NeurIPS 2004; its use beside VAT is
    that of Miyato et al., arXiv:1704.03976.

    Example:
        >>> round(prediction_entropy(torch.zeros(3, 2)).exp().item(), 4)
        2.0
    """
    log_p = logits.log_softmax(1)
    entropy: Tensor = -(log_p.exp() * log_p).sum(1).mean()
    return entropy


@full_precision
def adversarial_perturbation(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    clean: Tensor,
    noise: Tensor,
    *,
    epsilon: float,
    xi: float = 0.1,
    iterations: int = 1,
) -> Tensor:
    r"""The perturbation of a given length that moves the distribution over classes most, by the power method.

    Args:
        network: images ``(B, C, H, W)`` to logits.
        images: ``(B, C, H, W)``.
        clean: their logits.
        noise: ``(B, C, H, W)``, where the search begins; its length does not matter.
        epsilon: length of each image's perturbation.
        xi: length of the steps with which the curvature is felt. The official code has 1e-6, which in single precision
            is lost in most pixels.
        iterations: of the power method.

    Returns:
        ``(B, C, H, W)``, without gradient.

    Source: Miyato et al., Virtual Adversarial Training, TPAMI 2018, arXiv:1704.03976, algorithm 1.

    Example:
        >>> steep = lambda x: torch.stack([3 * x[:, 0, 0, 0], x[:, 0, 0, 1]], 1)
        >>> x = torch.zeros(1, 1, 1, 2)
        >>> found = adversarial_perturbation(steep, x, steep(x), torch.ones_like(x), epsilon=2.0, iterations=9)
        >>> [round(abs(value), 2) for value in found.flatten().tolist()]
        [1.9, 0.63]
    """
    direction = _unit(noise)
    with torch.enable_grad():
        for _ in range(iterations):
            step = (xi * direction).requires_grad_()
            divergence = virtual_adversarial(network(images.detach() + step), clean)
            (gradient,) = torch.autograd.grad(divergence, step)
            direction = _unit(gradient)
    return epsilon * direction


def _unit(x: Tensor) -> Tensor:
    """Each image as a vector of length 1; those of 0 stay so."""
    return x / x.float().square().sum((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-30).to(x.dtype)
