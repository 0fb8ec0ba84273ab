"""Nearest neighbors and ridge: classifiers on features that need no training by gradient."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from sslbolts.checks import is_number
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.evaluation.accuracy import accuracies, precision
from sslbolts.evaluation.encoder import Encoder, choose_device
from sslbolts.evaluation.features import EncodedData, EvaluationData
from sslbolts.evaluation.result import Found, Result
from sslbolts.evaluation.splits import Splits, held_out, labeled_splits
from sslbolts.readouts import (
    RIDGE_PENALTIES,
    mean_average_precision,
    nearest_neighbors,
    neighbor_shares,
    neighbor_votes,
    ridge_classifier,
    ridge_of_several,
)
from sslbolts.readouts.knn import Metric

__all__ = ["KNN_KS", "KNN_TEMPERATURES", "evaluate_knn", "evaluate_ridge", "knn_on_features", "ridge_on_features"]

KNN_KS = (1, 5, 10, 20, 50, 100, 200)
KNN_TEMPERATURES = (0.04, 0.07, 0.1, 0.2, torch.inf)
"""Of the cosine's votes; infinite is the same vote for every neighbor."""

_CHOSEN_ON = 2000  # images: the standard error of their accuracy is at most 1.1 %


def evaluate_knn(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    k: Sequence[int] = KNN_KS,
    temperature: Sequence[float] = KNN_TEMPERATURES,
    metric: Sequence[Metric] = ("cosine", "euclidean"),
    seed: int = 0,
    cache: str | Path | None = None,
) -> Result:
    """Nearest neighbors among the labeled training images, on frozen features; see :func:`knn_on_features`.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule, or a dataset or loader of training images, which then needs ``test``.
        test: test images.
        k: numbers of neighbors to choose from.
        temperature: of the votes by cosine similarity, > 0; ``inf`` counts all neighbors alike.
        metric: "cosine", "euclidean" or both.
        seed: of the training images on which they are chosen.
        cache: folder of features; see :func:`~sslbolts.evaluation.features.features_of`.

    Raises:
        UsageError: for a value out of its range, or data without labels.
    """
    _check_knn(k, temperature, metric)
    subject = EncodedData(encoder, data, test=test, cache=cache)
    splits = labeled_splits(subject, several=True)
    found = knn_on_features(splits, ks=k, temperatures=temperature, metrics=metric, seed=seed, device=encoder.device)
    return subject.result("knn", found.metrics, splits.settings | found.settings, found.rows)


def evaluate_ridge(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    penalty: Sequence[float] = RIDGE_PENALTIES,
    cache: str | Path | None = None,
) -> Result:
    """Ridge regression on one-hot labels, on frozen features; see :func:`sslbolts.readouts.ridge_classifier`.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule, or a dataset or loader of training images, which then needs ``test``.
        test: test images.
        penalty: candidates, per training image, > 0.
        cache: folder of features.

    Raises:
        UsageError: for a penalty that is not positive, or data without labels.
    """
    if not penalty or not all(is_number(value) and value > 0 for value in penalty):
        raise UsageError(f"penalty={tuple(penalty)}: at least one is needed, and all must be positive.")
    subject = EncodedData(encoder, data, test=test, cache=cache)
    splits = labeled_splits(subject, several=True)
    found = ridge_on_features(splits, penalties=penalty, device=encoder.device)
    return subject.result("ridge", found.metrics, splits.settings | found.settings, found.rows)


def knn_on_features(
    splits: Splits,
    *,
    ks: Sequence[int] = KNN_KS,
    temperatures: Sequence[float] = KNN_TEMPERATURES,
    metrics: Sequence[Metric] = ("cosine", "euclidean"),
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Found:
    """Number of neighbors, temperature and metric by one search per metric, chosen on training images only.

    Every candidate is measured on up to 2,000 training images, of every class alike, whose neighbors are all the other
    training images; the test images see the best candidate (the first of equals), and DINO's k = 20 at
    temperature 0.07. With the cosine a neighbor's vote is ``exp(cosine / temperature)``; with the Euclidean distance,
    on features as they are, all votes are equal.

    Where images show several classes, a score is the share of the votes (:func:`~sslbolts.readouts.neighbor_shares`),
    and the measure in place of accuracy is the mean average precision, ``map``.

    Args:
        splits: labeled features.
        ks: numbers of neighbors, at least 1; those beyond the training images are left out.
        temperatures: positive, for the cosine.
        metrics: "cosine", "euclidean".
        seed: of the draw of the images that choose.
        device: where it is computed.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    arXiv:1805.01978; Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021,
    arXiv:2104.14294.
    """
    _check_knn(ks, temperatures, metrics)
    home = choose_device(device)
    usable = [k for k in ks if k < len(splits.x)] or [min(ks)]
    candidates = [
        _Candidate(metric, temperature, k)
        for metric in metrics
        for temperature in (temperatures if metric == "cosine" else (torch.inf,))
        for k in usable
    ]
    bank = _Bank(splits.x.to(home), splits.y.to(home), splits.num_classes, max(usable))
    best, chosen = candidates[0], "given"
    rows: list[dict[str, Any]] = []
    if len(candidates) > 1:
        best, chosen, rows = _choose(candidates, splits, bank, seed)
    tested = _Search(splits.test_x.to(home), bank)
    found = _measured(tested.scores(best), splits)
    if _STANDARD.k in usable and "cosine" in metrics and rows:
        measure = "map" if splits.several else "top1"
        standard = _measured(tested.scores(_STANDARD), splits)
        found[f"k{_STANDARD.k}_t{_STANDARD.temperature}/{measure}"] = standard[measure]
    return Found(found, {**best.in_words, "chosen": chosen}, rows)


def ridge_on_features(
    splits: Splits, *, penalties: Sequence[float] = RIDGE_PENALTIES, device: str | torch.device = "auto"
) -> Found:
    """The closed-form linear classifier, its penalty chosen by leaving out one training image after the other.

    Args:
        splits: labeled features.
        penalties: candidates, per training image.
        device: where it is computed.
    """
    home = choose_device(device)
    x, y, test_x = splits.x.to(home), splits.y.to(home), splits.test_x.to(home)
    if splits.several:
        ridge = ridge_of_several(test_x, x, y, penalties=penalties)
        measured, name, words = precision(ridge.scores, splits.test_y), "training map", "mean average precision"
    else:
        ridge = ridge_classifier(test_x, x, y, num_classes=splits.num_classes, penalties=penalties)
        measured, name, words = accuracies(ridge.scores, splits.test_y), "training top1", "right"
    settings = {
        "standardized": "by mean and deviation of the training features",
        "penalty": ridge.penalty,
        "chosen": f"of {len(ridge.candidates)} penalties per training image, by leave-one-out on the training images "
        f"({100 * ridge.bank_accuracy:.2f} % {words})",
    }
    rows = [{"penalty": penalty, name: share} for penalty, share in ridge.candidates.items()]
    return Found(measured, settings, rows)


class _Candidate(NamedTuple):
    metric: Metric
    temperature: float
    k: int

    @property
    def in_words(self) -> dict[str, Any]:
        temperature = "inf" if self.temperature == torch.inf else self.temperature  # JSON has no infinity
        return {"metric": self.metric, "k": self.k, "temperature": temperature}


_STANDARD = _Candidate("cosine", 0.07, 20)  # DINO's


class _Bank(NamedTuple):
    """The training images.

    Attributes:
        features: ``(N, D)``.
        labels: ``(N,)``, or ``(N, C)`` where images show several classes.
        num_classes: `C`.
        most: neighbors that the largest candidate asks for.
    """

    features: Tensor
    labels: Tensor
    num_classes: int
    most: int


@dataclass(frozen=True)
class _Search:
    """The neighbors of some images, from one search per metric.

    Attributes:
        queries: features ``(M, D)``.
        bank: the images to search among.
        own: ``(M,)`` rows of the bank that the queries themselves are; None where they are others.
        found: by metric, similarities and rows of the bank ``(M, most)``.
    """

    queries: Tensor
    bank: _Bank
    own: Tensor | None = None
    found: dict[Metric, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def scores(self, candidate: _Candidate) -> Tensor:
        """Scores ``(M, C)``; minus infinity for a class without a vote, which is no answer."""
        metric, temperature, k = candidate
        features, labels, num_classes, most = self.bank
        if metric not in self.found:
            self.found[metric] = nearest_neighbors(self.queries, features, most, metric=metric, own=self.own)
        similarity, neighbor = self.found[metric]
        if labels.ndim == 2:
            return neighbor_shares(similarity, neighbor, labels, [k], temperature=temperature)[0]
        votes = neighbor_votes(similarity, labels[neighbor], [k], temperature=temperature, num_classes=num_classes)[0]
        return votes.masked_fill(votes == 0, -torch.inf)


def _choose(
    candidates: Sequence[_Candidate], splits: Splits, bank: _Bank, seed: int
) -> tuple[_Candidate, str, list[dict[str, Any]]]:
    """The best candidate on training images, how it was chosen in words, and a row for each.

    Raises:
        UsageError: if there are no images to choose on.
    """
    own = held_out(splits.y, 0.5, seed=seed, most=_CHOSEN_ON).nonzero().squeeze(1).to(bank.features.device)
    if not len(own):
        raise UsageError("no class has two training images to choose on: give one k, temperature and metric.")
    search, targets = _Search(bank.features[own], bank, own), bank.labels[own]
    shares = []
    for candidate in candidates:
        scores = search.scores(candidate)
        if splits.several:
            shares.append(mean_average_precision(scores, targets))
        else:
            shares.append(int((scores.argmax(1) == targets).sum()) / len(own))
    if all(share != share for share in shares):
        raise UsageError(f"none of {len(own):,} training images to choose on shows a class: give one candidate.")
    measure, words = ("map", "mean average precision") if splits.several else ("top1", "right")
    chosen = (
        f"of {len(candidates)} candidates, on {len(own):,} training images whose neighbors are all the other training "
        f"images ({100 * max(shares):.2f} % {words}; seed {seed})"
    )
    rows = [{**candidate.in_words, f"training {measure}": share} for candidate, share in zip(candidates, shares)]
    return candidates[shares.index(max(shares))], chosen, rows


def _measured(scores: Tensor, splits: Splits) -> dict[str, float]:
    """The measures of scores of the test images."""
    if splits.several:
        return precision(scores, splits.test_y)
    shares = scores.clamp(min=0)  # of one image all votes may be larger than those of another
    positive = shares[:, 1] / shares.sum(1) if splits.num_classes == 2 else None
    return accuracies(scores, splits.test_y, positive=positive)


def _check_knn(ks: Sequence[int], temperatures: Sequence[float], metrics: Sequence[str]) -> None:
    if not ks or not all(isinstance(k, Integral) and k >= 1 for k in ks):
        raise UsageError(f"k={tuple(ks)}: numbers of neighbors are at least 1, and whole.")
    if not temperatures or not all(isinstance(value, Real) and value > 0 for value in temperatures):
        raise UsageError(f"temperature={tuple(temperatures)}: they are positive (inf for equal votes).")
    known = get_args(Metric)
    for metric in metrics or [""]:
        if metric not in known:
            raise UsageError(f'metric "{metric}": it is one of {", ".join(known)}.{did_you_mean(metric, known)}')
