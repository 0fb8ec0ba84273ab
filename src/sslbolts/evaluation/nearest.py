"""Nearest neighbors and ridge: classifiers on features that need no training by gradient."""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

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

_STANDARD = (20, 0.07)  # DINO's
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
    bank, labels = splits.x.to(home), splits.y.to(home)
    usable = [k for k in ks if k < len(bank)] or [min(ks)]
    candidates = [
        (metric, temperature, k)
        for metric in metrics
        for temperature in (temperatures if metric == "cosine" else (torch.inf,))
        for k in usable
    ]
    rows: list[dict[str, Any]] = []
    measure, words = ("map", "mean average precision") if splits.several else ("top1", "right")
    (metric, temperature, k), chosen = candidates[0], "given"
    if len(candidates) > 1:
        choosing = held_out(splits.y, 0.5, seed=seed, most=_CHOSEN_ON).nonzero().squeeze(1).to(home)
        if not len(choosing):
            raise UsageError("no class has two training images to choose on: give one k, temperature and metric.")
        found: dict[str, tuple[Tensor, Tensor]] = {
            name: nearest_neighbors(bank[choosing], bank, max(usable), metric=name, own=choosing) for name in metrics
        }
        for name, heat, count in candidates:
            similarity, neighbor = found[name]
            if splits.several:
                scores = neighbor_shares(similarity, neighbor, labels, [count], temperature=heat)[0]
                share = mean_average_precision(scores, labels[choosing])
            else:
                votes = _votes(similarity, labels[neighbor], count, heat, splits.num_classes)
                share = int((votes.argmax(1) == labels[choosing]).sum()) / len(choosing)
            rows.append({"metric": name, "k": count, "temperature": _named(heat), f"training {measure}": share})
        shares = [row[f"training {measure}"] for row in rows]
        if all(share != share for share in shares):
            raise UsageError(
                f"none of {len(choosing):,} training images to choose on shows a class: give one candidate."
            )
        metric, temperature, k = candidates[shares.index(max(shares))]
        chosen = (
            f"of {len(rows)} candidates, on {len(choosing):,} training images whose neighbors are all the other "
            f"training images ({100 * max(shares):.2f} % {words}; seed {seed})"
        )

    queries = splits.test_x.to(home)
    searched: dict[str, tuple[Tensor, Tensor]] = {}

    def measured(metric: Metric, k: int, temperature: float) -> dict[str, float]:
        if metric not in searched:
            searched[metric] = nearest_neighbors(queries, bank, max(usable), metric=metric)
        similarity, neighbor = searched[metric]
        if splits.several:
            shared = neighbor_shares(similarity, neighbor, labels, [k], temperature=temperature)[0]
            return precision(shared, splits.test_y)
        votes = _votes(similarity, labels[neighbor], k, temperature, splits.num_classes)
        shares = votes.clamp(min=0)  # of one image all votes may be larger than those of another
        positive = shares[:, 1] / shares.sum(1) if splits.num_classes == 2 else None
        return accuracies(votes, splits.test_y, positive=positive)

    metrics_found = measured(metric, k, temperature)
    standard_k, standard_temperature = _STANDARD
    if "cosine" in metrics and standard_k in usable and rows:
        standard = measured("cosine", standard_k, standard_temperature)
        metrics_found[f"k{standard_k}_t{standard_temperature}/{measure}"] = standard[measure]
    settings = {"metric": metric, "k": k, "temperature": _named(temperature), "chosen": chosen}
    return Found(metrics_found, settings, rows)


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


def _votes(similarity: Tensor, labels: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """Scores ``(N, C)``; minus infinity for a class without a vote, which is no answer."""
    votes = neighbor_votes(similarity, labels, [k], temperature=temperature, num_classes=classes)[0]
    return votes.masked_fill(votes == 0, -torch.inf)


def _named(temperature: float) -> float | str:
    return "inf" if temperature == torch.inf else temperature  # JSON has no infinity


def _check_knn(ks: Sequence[int], temperatures: Sequence[float], metrics: Sequence[str]) -> None:
    if not ks or not all(isinstance(k, Integral) and k >= 1 for k in ks):
        raise UsageError(f"k={tuple(ks)}: numbers of neighbors are at least 1, and whole.")
    if not temperatures or not all(isinstance(value, Real) and value > 0 for value in temperatures):
        raise UsageError(f"temperature={tuple(temperatures)}: they are positive (inf for equal votes).")
    known = get_args(Metric)
    for metric in metrics or [""]:
        if metric not in known:
            raise UsageError(f'metric "{metric}": it is one of {", ".join(known)}.{did_you_mean(metric, known)}')
