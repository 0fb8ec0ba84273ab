"""Right answers are counted as scikit-learn counts them, and as a loop does."""

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from sslbolts.evaluation.accuracy import accuracies, right_answers


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
