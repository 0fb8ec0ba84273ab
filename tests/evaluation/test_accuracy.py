"""Right answers are counted as scikit-learn counts them, and as a loop does."""

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from sslbolts import UsageError
from sslbolts.evaluation.accuracy import accuracies, right_answers
from sslbolts.evaluation.nearest import knn_on_features
from sslbolts.evaluation.splits import Splits


def test_accuracies_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(100, 7, generator=generator), torch.arange(100) % 7
    found = accuracies(scores, targets)
    predicted = scores.argmax(1).numpy()
    assert found["top1"] == pytest.approx(accuracy_score(targets, predicted), abs=1e-12)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(targets, scores, k=5), abs=1e-12)
    assert found["mean_per_class"] == pytest.approx(balanced_accuracy_score(targets, predicted), abs=1e-12)


@pytest.mark.parametrize(("classes", "names"), [(5, ["top1"]), (6, ["top1", "top5"])])
def test_right_answers_of_several_heads_are_those_of_each(classes, names):
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(20, 3, classes, generator=generator), torch.arange(-1, 19) % classes
    targets[0] = -1
    found = right_answers(scores, targets[:, None])
    assert list(found) == names
    for row, label in enumerate(targets.tolist()):
        for head in range(3):
            ranked = sorted(range(classes), key=lambda c: -float(scores[row, head, c]))
            assert [bool(right[row, head]) for right in found.values()] == [
                label in ranked[: {"top1": 1, "top5": 5}[name]] for name in names
            ]


def test_a_class_without_a_vote_is_no_hit():
    """Ten classes, up to four neighbors: the five best have voted, or are none."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(30, 4, generator=generator), torch.randn(40, 4, generator=generator)
    labels, targets = torch.arange(30) % 10, torch.arange(40) % 10
    for k, metric in ((1, "cosine"), (4, "cosine"), (4, "euclidean")):
        splits = Splits(bank, labels, queries, targets, 10, torch.arange(30), {})
        found = knn_on_features(splits, ks=(k,), temperatures=(0.07,), metrics=(metric,), device="cpu").metrics
        hits = 0
        for query, target in zip(queries, targets.tolist()):
            away = (
                (bank - query).norm(dim=1) if metric == "euclidean" else 1 - torch.cosine_similarity(bank, query[None])
            )
            voted = {int(labels[row]) for row in sorted(range(30), key=lambda row: float(away[row]))[:k]}
            hits += target in voted  # at most four classes
        assert found["top5"] == pytest.approx(hits / 40, abs=1e-12)
        assert k > 1 or found["top5"] == found["top1"]


def test_scores_that_are_not_finite_are_wrong_and_refused():
    scores, targets = torch.eye(7), torch.arange(7)
    for row, value in ((0, torch.nan), (3, torch.inf)):
        broken = scores.clone()
        broken[row, row] = value
        right = right_answers(broken, targets)
        assert [right[name].tolist() for name in ("top1", "top5")] == [[place != row for place in range(7)]] * 2
        with pytest.raises(UsageError, match="scores are not finite for 1 of 7 images"):
            accuracies(broken, targets)
