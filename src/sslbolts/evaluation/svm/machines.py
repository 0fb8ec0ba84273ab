"""One linear support vector machine per class, its cost chosen by cross-validation."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslbolts.checks import positive, whole
from sslbolts.errors import UsageError

__all__ = ["COSTS", "Machines", "check_package", "fit_machines", "mean_average_precision"]

COSTS = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)
"""VISSL's candidates for the cost `C` of a training image on the wrong side."""
_MOST_ITERATIONS = 2000
_Fitted = tuple[NDArray[Any], float, float | None, int, int]
_COST_OF_FEW = 1.0  # where a class has too few images to choose on


class Machines(NamedTuple):
    """What the machines say of the test images.

    Attributes:
        scores: ``(M, C)`` float64 distances from the plane; minus infinity for a class that has no machine.
        costs: the chosen cost for each class; None for a class without a machine.
        validation: the cross-validated average precision for each class that had a choice; None for others.
        unfinished: how many fits stopped at the limit of iterations.
        fits: how many there were.
    """

    scores: Tensor
    costs: list[float | None]
    validation: list[float | None]
    unfinished: int
    fits: int


def check_package() -> None:
    """Refuse to begin without scikit-learn.

    Raises:
        UsageError: if it is not installed.
    """
    if find_spec("sklearn") is None:
        raise UsageError('support vector machines need scikit-learn: pip install "sslbolts[svm]".')


def fit_machines(
    x: Tensor,
    targets: Tensor,
    test_x: Tensor,
    *,
    costs: Sequence[float] = COSTS,
    folds: int = 3,
    seed: int = 0,
    jobs: int = 1,
) -> Machines:
    """For each class a machine on all training images, with the cost that has the best average precision on folds.

    The loss is the squared hinge, and images of the class weigh twice. Images whose label is not known have no part in
    their class; the smaller of equal costs is chosen. A class gets no machine that no training image or every one has.

    Args:
        x: features ``(N, D)`` of training images, of one length.
        targets: ``(N, C)`` of 1, 0, and -1 where it is not known.
        test_x: ``(M, D)``.
        costs: candidates.
        folds: of the cross-validation; a class with fewer images than that has as many as it has images.
        seed: of the solver's order.
        jobs: machines fitted at a time, each in a process of its own.

    Raises:
        UsageError: without scikit-learn, for candidates or folds that are none, or if no class gets a machine.

    Source: Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, ICCV 2019,
    arXiv:1905.01235.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.1]])
        >>> labels = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> fit_machines(x, labels, x, costs=[1.0], folds=2).scores.argmax(1).tolist()
        [0, 0, 1, 1]
    """
    check_package()
    whole(2, folds=folds)
    whole(jobs=jobs)
    grid = sorted(costs)
    if not grid:
        raise UsageError("costs is empty: give one or more.")
    for cost in grid:
        positive(costs=cost)
    taught = ((targets == 1).any(0) & (targets == 0).any(0)).nonzero().squeeze(1).tolist()
    if not taught:
        raise UsageError("no class tells some training images from others: there is nothing to learn.")
    scores = torch.full((len(test_x), targets.shape[1]), -torch.inf, dtype=torch.float64)
    chosen: list[float | None] = [None] * targets.shape[1]
    validation: list[float | None] = [None] * targets.shape[1]
    features, test_features = x.cpu().double().numpy(), test_x.cpu().double().numpy()
    columns = [targets[:, label].cpu().numpy() for label in taught]
    fit = partial(_fit, features, test_features, costs=grid, folds=folds, seed=seed)
    from joblib import Parallel, delayed

    # Processes, since liblinear's machines of one process share the state of their random numbers.
    found = Parallel(n_jobs=jobs, prefer="processes")(delayed(_quietly)(fit, column) for column in columns)
    for label, (column, cost, precision, _, _) in zip(taught, found):
        scores[:, label] = torch.from_numpy(column)
        chosen[label], validation[label] = cost, precision
    return Machines(scores, chosen, validation, sum(f[3] for f in found), sum(f[4] for f in found))


def _quietly(fit: Callable[[NDArray[Any]], _Fitted], labels: NDArray[Any]) -> _Fitted:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Liblinear failed to converge")  # they are counted
        return fit(labels)


def _fit(
    x: NDArray[Any], test_x: NDArray[Any], labels: NDArray[Any], *, costs: Sequence[float], folds: int, seed: int
) -> _Fitted:
    """Scores of the test images, cost, cross-validated precision, unfinished fits, and fits of one class."""
    from sklearn.model_selection import cross_validate
    from sklearn.svm import LinearSVC

    machine = partial(LinearSVC, class_weight={1: 2.0, 0: 1.0}, dual=True, max_iter=_MOST_ITERATIONS, random_state=seed)
    known = labels >= 0
    x, labels = x[known], labels[known]
    count = int(min(folds, (labels == 1).sum(), (labels == 0).sum()))
    cost, best = min(costs, key=lambda candidate: abs(candidate - _COST_OF_FEW)), None
    fitted = []
    if count > 1:
        means = []
        for candidate in costs:
            found = cross_validate(
                machine(C=candidate), x, labels, cv=count, scoring="average_precision", return_estimator=True
            )
            means.append(float(np.mean(found["test_score"])))
            fitted += list(found["estimator"])
        best = max(means)
        cost = costs[means.index(best)]
    final = machine(C=cost).fit(x, labels)
    fitted.append(final)
    unfinished = sum(int(np.max(each.n_iter_)) >= _MOST_ITERATIONS for each in fitted)
    return final.decision_function(test_x), cost, best, unfinished, len(fitted)


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """Mean over classes of the average precision: the precision at each image of the class, without interpolation.

    Images whose label is not known do not count for their class, and classes without any image are left out.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 1, 0, and -1 where it is not known.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
        >>> round(mean_average_precision(scores, torch.tensor([[1], [0], [1], [0]])), 4)  # of 1 and 2/3
        0.8333
    """
    from sklearn.metrics import average_precision_score

    each = []
    for column, labels in zip(scores.T, targets.T):
        known = labels >= 0
        if (labels == 1).any():
            each.append(average_precision_score(labels[known].numpy(), column[known].numpy()))
    return float(np.mean(each)) if each else float("nan")
