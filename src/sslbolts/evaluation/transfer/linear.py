"""Logistic regression on frozen features: the classifier of transfer tables."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sslbolts.evaluation.transfer.metrics import measure
from sslbolts.readouts.logistic import fit_logistic

__all__ = ["PENALTIES", "TransferScore", "score_transfer"]

PENALTIES = tuple(float(value) for value in torch.logspace(-6, 5, 45, dtype=torch.float64))
"""The 45 penalties of the paper, from 1e-6 to 1e5, evenly spaced in their logarithm."""


class TransferScore(NamedTuple):
    """The measures of the classifier of a data set.

    Attributes:
        test: the metric on the test images, after training on training and validation images.
        val: on the validation images, after training on the training images.
        penalty: `λ`, chosen by ``val``; the larger one on a tie.
    """

    test: float
    val: float
    penalty: float


def score_transfer(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    metric: str,
    num_classes: int,
    penalties: Sequence[float] = PENALTIES,
    max_iter: int = 200,
) -> TransferScore:
    """Fits with every penalty, chooses on the validation images, fits again on all, and measures once.

    Args:
        train, val, test: features ``(N, D)`` and labels ``(N,)``, or ``(N, C)`` of images with several.
        metric: see :func:`~sslbolts.evaluation.transfer.metrics.measure`.
        num_classes: number of classes.
        penalties: candidates for the l2 penalty, see :func:`sslbolts.readouts.logistic.fit_logistic`.
        max_iter: L-BFGS steps of each fit.

    Source: Chen et al., SimCLR, ICML 2020, arXiv:2002.05709, appendix B.8.

    Example:
        >>> x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
        >>> thirds = [(part, (part[:, 0] > 0).long()) for part in x.split(30)]
        >>> score_transfer(*thirds, metric="top1", num_classes=2, penalties=[1.0, 100.0]).test > 0.8
        True
    """
    candidates = sorted(penalties, reverse=True)
    fits = fit_logistic(*train, candidates, num_classes=num_classes, max_iter=max_iter)
    on_val = [measure(metric, fit.scores(val[0]), val[1].to(val[0].device)) for fit in fits]
    best = on_val.index(max(on_val))
    features, targets = torch.cat([train[0], val[0]]), torch.cat([train[1], val[1]])
    (final,) = fit_logistic(features, targets, [candidates[best]], num_classes=num_classes, max_iter=max_iter)
    on_test = measure(metric, final.scores(test[0]), test[1].to(test[0].device))
    return TransferScore(on_test, on_val[best], candidates[best])
