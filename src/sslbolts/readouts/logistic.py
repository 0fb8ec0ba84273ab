"""Logistic regression by L-BFGS: the classifier of transfer tables."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.checks import is_number
from sslbolts.errors import UsageError
from sslbolts.readouts.checks import as_features, without_autocast

__all__ = ["LogisticRegression", "fit_logistic"]


class LogisticRegression:
    """A fitted classifier.

    Args:
        weight: ``(C, D)``.
        bias: ``(C,)``.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight
        self.bias = bias

    def scores(self, features: Tensor) -> Tensor:
        """Logits ``(N, C)`` of features ``(N, D)``."""
        return torch.addmm(self.bias, features.to(self.weight), self.weight.T)


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    penalties: Sequence[float],
    *,
    num_classes: int | None = None,
    max_iter: int = 200,
    tolerance: float = 1e-6,
) -> list[LogisticRegression]:
    r"""Logistic regressions with an l2 penalty on their weights, one for each penalty.

    Minimized is `Σ_i CE(W x_i + b, y_i) + λ/2 |W|²` by L-BFGS with a line search; the sum is over images, as
    scikit-learn's `C = 1/λ` has it, and the bias is free. With several labels per image, CE is the sum of the binary
    cross-entropies of all classes. Penalties are gone through from the largest down, each fit starting where the last
    one ended; the problem is convex, so that only the time depends on it. Features are centered and divided by one
    number inside, which changes no minimum.

    Args:
        features: ``(N, D)``.
        targets: labels ``(N,)`` from 0, or ``(N, C)`` with 1, 0, and -1 for what is not known and does not count.
        penalties: each `λ` >= 0.
        num_classes: number of classes; None is one more than the largest label.
        max_iter: steps of each fit.
        tolerance: a fit ends when no entry of the mean gradient is larger.

    Returns:
        One classifier per penalty, in their order.

    Raises:
        UsageError: for shapes that do not fit, or a negative penalty.

    Source: Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019, arXiv:1805.08974; Chen et al.,
    SimCLR, ICML 2020, arXiv:2002.05709, appendix B.8.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> loose, tight = fit_logistic(x, torch.tensor([0, 0, 1, 1]), [0.01, 100.0])
        >>> loose.scores(x).argmax(1).tolist(), bool(loose.weight.norm() > tight.weight.norm())
        ([0, 0, 1, 1], True)
    """
    features = as_features(features, "features")
    if len(targets) != len(features) or targets.ndim not in (1, 2):
        raise UsageError(
            f"targets has shape {tuple(targets.shape)}: there must be one label, or one row of labels, for each of the "
            f"{len(features)} rows of features."
        )
    if not penalties or not all(is_number(penalty) and penalty >= 0 for penalty in penalties):
        raise UsageError(f"penalties={list(penalties)}: at least one is needed, and none can be negative.")
    targets = targets.to(features.device)
    classes = targets.shape[1] if targets.ndim == 2 else num_classes or int(targets.max()) + 1
    # Inside, x' = (x - mean) / size, so W' = W size, and the penalty of W' is λ / size².
    mean = features.mean(0)
    centered = features - mean
    size = float(centered.square().mean().sqrt()) or 1.0
    centered = centered.div_(size)

    weight = centered.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = centered.new_zeros(classes, requires_grad=True)
    fitted: dict[float, LogisticRegression] = {}
    for penalty in sorted(set(penalties), reverse=True):
        _descend(weight, bias, centered, targets, penalty / size**2, max_iter, tolerance)
        outer = weight.detach() / size
        fitted[penalty] = LogisticRegression(outer, bias.detach() - outer @ mean)
    return [fitted[penalty] for penalty in penalties]


def _descend(
    weight: Tensor, bias: Tensor, x: Tensor, targets: Tensor, penalty: float, max_iter: int, tolerance: float
) -> None:
    """Minimize in place."""
    # Divided by N: the same minimum, and a gradient whose size means the same for every data set.
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iter,
        max_eval=2 * max_iter,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = torch.addmm(bias, x, weight.T)
        loss = _cross_entropy(scores, targets) + penalty / (2 * len(x)) * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with without_autocast(x), torch.inference_mode(False), torch.enable_grad():
        optimizer.step(closure)  # type: ignore[arg-type, no-untyped-call]


def _cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 1:
        return F.cross_entropy(scores, targets, ignore_index=-1, reduction="sum") / len(scores)
    known = targets >= 0
    each = F.binary_cross_entropy_with_logits(scores, targets.clamp(min=0).to(scores.dtype), reduction="none")
    return (each * known).sum() / len(scores)
