"""Confusions against scikit-learn."""

import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearns
from sklearn.metrics import recall_score

from sslbolts import UsageError
from sslbolts.readouts import class_accuracies, confusion_matrix


def test_it_equals_scikit_learns_on_the_labeled_images():
    predictions, targets = torch.randint(0, 5, (300,)), torch.randint(-1, 5, (300,))
    known = targets >= 0
    expected = sklearns(targets[known].numpy(), predictions[known].numpy(), labels=range(7))
    matrix = confusion_matrix(predictions, targets, num_classes=7)
    assert torch.equal(matrix, torch.from_numpy(expected))
    recalls = recall_score(targets[known].numpy(), predictions[known].numpy(), average=None)
    assert class_accuracies(matrix)[:5].tolist() == pytest.approx(recalls.tolist())
    assert class_accuracies(matrix)[5:].isnan().all()


def test_scores_count_as_the_class_of_the_largest():
    scores, targets = torch.randn(50, 4), torch.randint(0, 4, (50,))
    expected = confusion_matrix(scores.argmax(1), targets, num_classes=4)
    assert torch.equal(confusion_matrix(scores, targets, num_classes=4), expected)


def test_without_labels_nothing_is_counted():
    assert confusion_matrix(torch.zeros(3).long(), torch.full((3,), -1), num_classes=4).sum() == 0


@pytest.mark.parametrize(
    ("predictions", "targets", "message"),
    [
        (torch.zeros(3).long(), torch.zeros(4).long(), "one class and one integer"),
        (torch.zeros(3).long(), torch.zeros(3), "one class and one integer"),
        (torch.tensor([0, 2]), torch.tensor([0, 1]), "there is class 2"),
    ],
)
def test_what_does_not_fit_is_named(predictions, targets, message):
    with pytest.raises(UsageError, match=message):
        confusion_matrix(predictions, targets, num_classes=2)
